"""Loading Spotter from a file, or the best one from a folder."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from core.errors import MismatchError, StorageError, VeriframeError
from models.backbone import PyramidBackbone, recognise
from models.family import Family
from models.loading import Found, load_found, read_state
from models.spotter.settings import SpotterSettings

# Told apart by their weights; in a folder the first that is there is taken.
KNOWN_BACKBONES = ("efficientnet_b3", "efficientnet_b0", "tf_efficientnet_lite0", "mobilenetv2_100")

ENCODER = "encoder."
CHANNELS = (3, 6)  # of an input without and with error level analysis
SUFFIXES = (".pth", ".pt", ".safetensors")


def load(family: Family, path: Path, device: str | torch.device) -> Found:
    """Do what ``models.spotter.load_spotter`` says."""
    if not path.is_dir():
        return load_found(path, family, partial(_deduce, path=path), device)
    chosen, left_out = _choose(path)
    found = load_found(chosen, family, partial(_deduce, path=chosen), device)
    lines = "".join(f"\n  not taken: {line}" for line in left_out)
    return Found(found.network, found.settings, found.spec, found.description + lines)


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


def _backbone(state: dict[str, Tensor], path: Path) -> tuple[str, int]:
    """Return the name of the backbone in ``state``, and how many channels it takes."""
    own = {key.removeprefix(ENCODER): value for key, value in state.items() if key.startswith(ENCODER)}
    for channels in CHANNELS if own else ():
        name = recognise(own, KNOWN_BACKBONES, partial(PyramidBackbone, in_channels=channels))
        if name is not None:
            return name, channels
    raise MismatchError(f"{path} does not hold spotter on one of {', '.join(KNOWN_BACKBONES)}")


def _deduce(state: dict[str, Tensor], path: Path) -> tuple[SpotterSettings, int]:
    backbone, in_channels = _backbone(state, path)
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
    return settings, in_channels
