"""Loading GenConViT from a file."""

import re
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from core.errors import MismatchError
from models.backbone import PooledBackbone, recognise
from models.family import Family
from models.genconvit.settings import GenConViTSettings
from models.loading import Found, load_found

# Looked for in a state dictionary that does not name its backbones.
KNOWN_BACKBONES = (
    *("convnext_tiny", "swin_tiny_patch4_window7_224", "tf_efficientnet_lite0", "mobilenetv2_100"),
    *("convnext_small", "convnext_base", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224"),
)

LAYER = re.compile(r"autoencoder\.encoder\.\d+\.weight$")


def load(family: Family, path: Path, backbones: tuple[str, str] | None, device: str | torch.device) -> Found:
    """Do what ``models.genconvit.load_genconvit_from_checkpoint`` says."""
    return load_found(path, family, partial(_deduce, path=path, backbones=backbones), device)


def _deduce(state: dict[str, Tensor], path: Path, backbones: tuple[str, str] | None) -> tuple[GenConViTSettings, int]:
    try:
        widths = [state[key].shape[0] for key in sorted(filter(LAYER.match, state), key=_place) if state[key].ndim == 4]
        latent_width = state["vae.mu.weight"].shape[0]
        hidden, joined = state["classifier_a.head.1.weight"].shape
    except KeyError as error:
        raise MismatchError(f"{path} holds no GenConViT network of this layout: {error.args[0]} is missing") from error
    if backbones is None:
        backbones = (_recognised(state, 0, path), _recognised(state, 1, path))
    settings = GenConViTSettings(
        backbones=backbones,
        weights=("random", "random"),
        autoencoder_widths=tuple(widths),
        latent_width=latent_width,
        views="input+reconstruction" if joined >= 8 * hidden else "reconstruction",  # a view has 4 · hidden features
    )
    return settings, 3


def _place(key: str) -> int:
    return int(key.split(".")[2])  # files may hold keys in any order


def _recognised(state: dict[str, Tensor], number: int, path: Path) -> str:
    prefix = f"classifier_a.backbones.{number}."
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    name = recognise(own, KNOWN_BACKBONES, PooledBackbone)
    if name is None:
        raise MismatchError(
            f"{path} does not name its backbones, and backbone {number} is none of {', '.join(KNOWN_BACKBONES)}: "
            "give `backbones`"
        )
    return name
