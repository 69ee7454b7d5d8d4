"""Loading a network from whatever file holds its weights: a checkpoint of ours, or a bare state dictionary."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.errors import BadInputError, MismatchError
from core.settings import Settings
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, load_state, network_of, read_checkpoint, unwrapped
from models.family import Family
from models.network import Network
from models.parameters import count_parameters
from models.pretrained import read_weights

# Reads a family's settings, and an input with as many channels as the network takes, off the shapes of a state.
Deduce = Callable[[dict[str, Tensor]], tuple[Settings, InputSpec]]

CLASSES = ("authentic", "manipulated")  # of a bare state dictionary, which does not name them


@dataclass(frozen=True)
class Found:
    """What a file turned out to hold.

    Attributes:
        network: in evaluation mode.
        settings: the network's; read off the weights where the file does not say.
        spec: what its input went through; None where the file does not say.
        description: the above and what is known of the training, for people; a line each.
    """

    network: Network
    settings: Settings
    spec: PreprocessingSpec | None
    description: str


def load_found(path: Path, family: Family, deduce: Deduce, device: str | torch.device = "cpu") -> Found:
    """Load a network of ``family``, strictly, and describe what was found.

    Args:
        path: a checkpoint, or a file that ``read_weights`` takes.
        family: the network's.
        deduce: for a file that does not describe its network.
        device: where to.

    Raises:
        StorageError: when there is no such file.
        BadInputError: when it is damaged, unsafe, or holds no weights.
        MismatchError: when it is of another family, or its weights do not fit.
    """
    checkpoint, state = read_state(path)
    if checkpoint is not None and checkpoint.model_type is not None:
        if checkpoint.model_type != family.name:
            raise MismatchError(f"{path} is of family {checkpoint.model_type}, not {family.name}")
        loaded = network_of(checkpoint, path, device=device)
        kind = f"checkpoint of {loaded.member}, stage {loaded.stage or 'unknown'}"
        measured = ", ".join(f"{name} {value:.4g}" for name, value in loaded.metrics.items() if _is_number(value))
        lines = [f"epochs: {checkpoint.epoch}", f"on val: {measured or 'nothing measured'}"]
        return Found(
            loaded.network,
            loaded.model_settings,
            loaded.spec,
            _describe(path, kind, loaded.network, loaded.model_settings, lines),
        )
    settings, input_spec = deduce(state)
    network = family.build(settings, input_spec, CLASSES, pretrained=False)
    load_state(network, state, family, strict=True)
    lines = ["settings: read off the weights", "input: not in the file; give the recipe it was trained with"]
    described = _describe(path, "bare state dictionary", network, settings, lines)
    return Found(network.to(device).eval(), settings, None, described)


def read_state(path: Path) -> tuple[Checkpoint | None, dict[str, Tensor]]:
    """Return the checkpoint in a file, None for a bare state dictionary; and the state, its keys unwrapped.

    Raises:
        StorageError, BadInputError: as ``load_found``.
    """
    if path.suffix != ".safetensors":
        try:
            checkpoint = read_checkpoint(path)
        except BadInputError as error:
            if error.reason != "checkpoint-incomplete":
                raise
        else:
            return checkpoint, unwrapped(checkpoint.model_state_dict)
    return None, unwrapped(read_weights(str(path)))


def _describe(path: Path, kind: str, network: Network, settings: Settings, lines: list[str]) -> str:
    parameters = f"parameters: {count_parameters(network).total:,}"
    return "\n  ".join([f"{path}: {kind}", f"model: {settings.to_json()}", parameters, *lines])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
