"""Loading Spotter from a file, or the best one from a folder."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from core.errors import MismatchError, StorageError, VeriframeError
from media.ela import ElaSpec
from media.spec import InputSpec
from models.backbone import PyramidBackbone, recognise
from models.family import FAMILIES
from models.loading import Found, load_found, read_state
from models.spotter.network import PUBLIC_BACKBONE
from models.spotter.settings import SpotterSettings

# Distinguished by their weights; of a folder the first that is there is taken.
KNOWN_BACKBONES = ("efficientnet_b3", "efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv2_100")

ENCODER = "encoder."
INPUTS = tuple(InputSpec.model_validate({"views": {"face": {"ela": ela}}}) for ela in (None, ElaSpec()))
SUFFIXES = (".pth", ".pt", ".safetensors")


def load_spotter(path: Path, device: str | torch.device = "cpu") -> Found:
    """Load a network in evaluation mode, and describe what was found; the weights tell whether it is B0 or B3.

    Args:
        path: a checkpoint of ours, or a bare state dictionary (see ``models.loading``); or a folder of such files, of
            which one on EfficientNet-B3 is preferred, with one on EfficientNet-B0 as fallback when none of B3 can be
            read. The description then names the files that were not taken and why.
        device: where to.

    Raises:
        StorageError: when there is no file, or no readable one in a folder.
        BadInputError: when a file is damaged, unsafe, or holds no weights.
        MismatchError: when it is no Spotter, or a folder holds several of the preferred kind.
    """
    if not path.is_dir():
        return _load_file(path, device)
    chosen, left_out = _choose(path)
    found = _load_file(chosen, device)
    lines = "".join(f"\n  not taken: {line}" for line in left_out)
    return replace(found, description=found.description + lines)


def _load_file(path: Path, device: str | torch.device) -> Found:
    return load_found(path, FAMILIES.get("spotter"), partial(_deduce, path=path), device)


def _choose(folder: Path) -> tuple[Path, list[str]]:
    """Return the file whose backbone comes first in ``KNOWN_BACKBONES``, and a line for each other file."""
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    backbones, problems = {}, []
    for file in files:
        try:
            backbones[file], _ = _backbone(read_state(file)[1], file)
        except VeriframeError as error:
            problems.append(str(error))
    if not backbones:
        raise StorageError("\n  ".join([f"no checkpoint of spotter can be read in {folder.absolute()}", *problems]))
    best = min(backbones.values(), key=KNOWN_BACKBONES.index)
    equal = [file for file, backbone in backbones.items() if backbone == best]
    if len(equal) > 1:
        raise MismatchError(
            f"{folder} holds several checkpoints of spotter on {best} ({', '.join(file.name for file in equal)}): "
            "give the path of one"
        )
    others = [f"{file.name} ({backbone})" for file, backbone in backbones.items() if file != equal[0]]
    return equal[0], others + problems


def _backbone(state: dict[str, Tensor], path: Path) -> tuple[str, InputSpec]:
    """Return the name of the backbone in ``state``, and an input of as many channels as it takes."""
    own = {key.removeprefix(ENCODER): value for key, value in state.items() if key.startswith(ENCODER)}
    for input_spec in INPUTS if own else ():
        build = partial(PyramidBackbone, in_channels=input_spec.only.tensor.shape[0])
        name = recognise(own, KNOWN_BACKBONES, build)
        if name is not None:
            return name, input_spec
    hint = ""
    if any(key.startswith(PUBLIC_BACKBONE) for key in state):
        hint = (
            "; of the public Spotter, whose names these are, the backbone alone fits: train with it as `model.weights`"
        )
    raise MismatchError(f"{path} does not hold spotter on one of {', '.join(KNOWN_BACKBONES)}{hint}")


def _deduce(state: dict[str, Tensor], path: Path) -> tuple[SpotterSettings, InputSpec]:
    backbone, input_spec = _backbone(state, path)
    try:
        channels = state["pyramid.lateral.0.weight"].shape[0]
        settings = SpotterSettings(
            backbone=backbone,
            weights="random",
            pyramid_channels=channels,
            attention_reduction=channels // state["attention.levels.0.mlp.0.weight"].shape[0],
            temporal_layers=sum(key.startswith("temporal.convolutions.") for key in state) // 2,
            gru_width=state["temporal.gru.weight_hh_l0"].shape[1],
            gru_layers=sum(key.startswith("temporal.gru.weight_hh") for key in state) // 2,
        )
    except KeyError as error:
        raise MismatchError(f"{path} holds no Spotter network of this layout: {error.args[0]} is missing") from error
    return settings, input_spec
