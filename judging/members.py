"""Loading trained models to evaluate or export."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core.errors import BadInputError, MismatchError
from data.index import SampleIndex
from media.spec import require_suitable
from models.checkpoint import LoadedNetwork, load_network, read_checkpoint
from models.family import FAMILIES

MODEL_FILE = "model.json"


@dataclass(frozen=True)
class ModelDescription:
    """What a model says of itself: its task (None in the published layout), and its stage."""

    task: str | None
    stage: str


def find_checkpoint(model: Path) -> tuple[Path, str | None]:
    """Return the checkpoint of a model and the hash it should have.

    Args:
        model: a folder that the training step wrote, or a checkpoint file.

    Raises:
        BadInputError: ``not-a-model`` when it is neither.
    """
    if model.is_file():
        return model, None
    try:
        described = json.loads((model / MODEL_FILE).read_text(encoding="utf-8"))
        return model / str(described["checkpoint"]), str(described["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            "not-a-model",
            f"{model} is no model ({error}); give a checkpoint or a folder written by python -m components.train",
        ) from error


def describe_model(model: Path) -> ModelDescription:
    """Read what a model folder or checkpoint file says of itself, without building its network.

    Raises:
        BadInputError: ``not-a-model``, or the checkpoint cannot be read.
        SettingsError: when its family is unknown.
    """
    checkpoint = read_checkpoint(find_checkpoint(model)[0])
    task = None if checkpoint.model_type is None else FAMILIES.get(checkpoint.model_type).task
    return ModelDescription(task, checkpoint.stage or "")


def task_of(model: Path) -> str:
    """Return the name of a model's task.

    Raises:
        BadInputError: ``not-a-model``, or the checkpoint cannot be read.
        MismatchError: when the checkpoint does not say of which family its network is.
        SettingsError: when its family is unknown.
    """
    task = describe_model(model).task
    if task is None:
        raise MismatchError(
            f"{model} does not say which network it holds, as checkpoints of the published layout do not; use it as a "
            "base: python -m components.train --base"
        )
    return task


def load_model(model: Path, device: torch.device | str) -> LoadedNetwork:
    """Load the network of a model folder or checkpoint file onto a device, in eval mode.

    Raises:
        BadInputError: ``not-a-model``, or the checkpoint cannot be read.
        MismatchError: when the checkpoint is not the one that ``model.json`` describes.
    """
    path, expected = find_checkpoint(model)
    loaded = load_network(path, device=device)
    if expected is not None and loaded.checkpoint_sha256 != expected:
        raise MismatchError(
            f"{path} has sha256 {loaded.checkpoint_sha256}, {MODEL_FILE} beside it says {expected}; train it again"
        )
    return loaded


def load_for(
    task: str, model: Path, device: torch.device | str, *, indexes: Sequence[SampleIndex] = ()
) -> LoadedNetwork:
    """Load a model of one task.

    Args:
        task: name of the task that the model must be of.
        model: a folder that the training step wrote, or a checkpoint file.
        device: where to put the network.
        indexes: their samples must show what the model reads.

    Raises:
        BadInputError: as ``load_model``; ``wrong-task`` when the model is of another task.
        MismatchError: as ``load_model``; when an index does not suit the model.
    """
    loaded = load_model(model, device)
    if loaded.family.task != task:
        raise BadInputError(
            "wrong-task",
            f"{model} is of family {loaded.family.name}, whose task is {loaded.family.task}; this is about {task}",
        )
    for index in indexes:
        require_suitable(loaded.spec.input, f"model {loaded.member}", index.spec.extraction, "the index")
    return loaded
