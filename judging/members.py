"""Loading trained models to judge with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from core.errors import BadInputError, MismatchError
from data.index import SampleIndex
from judging.faces import FaceMember
from judging.predict import Member
from media.spec import require_same_extraction
from models.checkpoint import LoadedNetwork, load_network, read_checkpoint
from models.family import Task
from models.registry import get_family

MODEL_FILE = "model.json"


@dataclass(frozen=True)
class ModelDescription:
    """What a model says of itself: its task (None in the published layout), and its generation or stage."""

    task: Task | None
    generation: str


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
    task = None if checkpoint.model_type is None else get_family(checkpoint.model_type).task
    return ModelDescription(task, checkpoint.generation or "")


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


def load_member(model: Path, device: torch.device | str, *, indexes: Sequence[SampleIndex] = ()) -> Member:
    """Load a segmentation model as a member called by its variant's name.

    Args:
        model: a folder that the training step wrote, or a checkpoint file.
        device: where to put the network.
        indexes: the model must have been trained on pixels extracted as theirs were.

    Raises:
        BadInputError: as ``load_model``; ``wrong-task`` when the model does not mark regions.
        MismatchError: as ``load_model``; when model and an index differ in how pixels were extracted.
    """
    loaded = _load_for("segmentation", model, device, indexes)
    return Member(loaded.member, loaded.network, loaded.spec.input)


def load_face_member(
    model: Path, device: torch.device | str, *, indexes: Sequence[SampleIndex] = ()
) -> tuple[FaceMember, LoadedNetwork]:
    """Load a classifier of faces as a member called by its variant's name, and what its checkpoint says.

    Args:
        model: a folder that the training step wrote, or a checkpoint file.
        device: where to put the network.
        indexes: the model must have been trained on faces cut as theirs were.

    Raises:
        BadInputError: as ``load_model``; ``wrong-task`` when the model does not classify.
        MismatchError: as ``load_model``; when model and an index differ in how pixels were extracted.
    """
    loaded = _load_for("classification", model, device, indexes)
    return FaceMember(loaded.member, loaded.network, loaded.spec.input, loaded.family.clips), loaded


def _load_for(task: Task, model: Path, device: torch.device | str, indexes: Sequence[SampleIndex]) -> LoadedNetwork:
    loaded = load_model(model, device)
    if loaded.family.task != task:
        does = {"segmentation": "marks no regions", "classification": "classifies no faces"}[task]
        raise BadInputError(
            "wrong-task", f"{model} is of family {loaded.family.name} (task {loaded.family.task}), which {does}"
        )
    for index in indexes:
        require_same_extraction(loaded.spec, f"model {loaded.member}", index.spec, "the index")
    return loaded
