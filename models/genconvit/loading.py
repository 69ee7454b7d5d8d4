"""Loading GenConViT from a file."""

import re
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from core.errors import MismatchError
from media.spec import InputSpec
from models.backbone import PooledBackbone, recognise
from models.family import FAMILIES
from models.genconvit.settings import GenConViTSettings
from models.loading import Found, load_found

# Looked for in a state dictionary that does not name its backbones.
KNOWN_BACKBONES = (
    *("convnext_tiny", "swin_tiny_patch4_window7_224", "tf_efficientnet_lite0", "mobilenetv2_100"),
    *("convnext_small", "convnext_base", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224"),
)

LAYER = re.compile(r"autoencoder\.encoder\.\d+\.weight$")


def load_genconvit_from_checkpoint(
    path: Path, backbones: tuple[str, str] | None = None, device: str | torch.device = "cpu"
) -> Found:
    """Load a network in evaluation mode, and describe what was found.

    Args:
        path: a checkpoint of ours, or a bare state dictionary (``.pth``, ``.pt``, ``.safetensors``), also under
            ``state_dict`` or ``model_state_dict`` and with the prefixes of data parallelism or torch.compile.
        backbones: timm's names, for a state dictionary of others than the common ones; a checkpoint names its own.
        device: where to.

    Raises:
        StorageError: when there is no file at ``path``.
        BadInputError: when it is damaged, unsafe, or holds no weights.
        MismatchError: when it is no GenConViT, or its backbones are not recognised; everything must match.
    """
    return load_found(path, FAMILIES.get("genconvit"), partial(_deduce, path=path, backbones=backbones), device)


def _deduce(
    state: dict[str, Tensor], path: Path, backbones: tuple[str, str] | None
) -> tuple[GenConViTSettings, InputSpec]:
    try:
        widths = [state[key].shape[0] for key in sorted(filter(LAYER.match, state), key=_place) if state[key].ndim == 4]
        latent_width = state["vae.mu.weight"].shape[0]
        hidden, joined = state["classifier_a.head.1.weight"].shape
    except KeyError as error:
        raise MismatchError(
            f"{path} holds no GenConViT network of this layout: {error.args[0]} is missing. Of the public ones, whose "
            "names begin with convnext. and swin., or with backbone. or convnext_backbone., the backbones alone fit: "
            "train with the file as `model.weights`"
        ) from error
    if backbones is None:
        backbones = (_recognised(state, 0, path), _recognised(state, 1, path))
    settings = GenConViTSettings(
        backbones=backbones,
        weights=("random", "random"),
        autoencoder_widths=tuple(widths),
        latent_width=latent_width,
        views="input+reconstruction" if joined >= 8 * hidden else "reconstruction",  # a picture has 4 · hidden features
    )
    return settings, InputSpec.model_validate({"views": {"face": {"mean": (0, 0, 0), "std": (1, 1, 1)}}})


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
