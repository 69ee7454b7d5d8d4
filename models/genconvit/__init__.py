"""GenConViT: judges a face by what autoencoders make of it, through a convolutional network and a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import SettingsError
from models.family import FaceParts, Family
from models.genconvit.settings import GenConViTLossSettings, GenConViTSettings

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from media.spec import InputSpec
    from models.loading import Found


def _build(settings: GenConViTSettings, in_channels: int, *, pretrained: bool = True) -> nn.Module:
    # Imported here so that reading a recipe does not wait for torch.
    from models.genconvit.network import GenConViT, load_backbone_weights

    if in_channels != 3:
        raise SettingsError(f"genconvit reconstructs pictures of 3 channels, the input has {in_channels}")
    network = GenConViT(settings)
    if pretrained:
        load_backbone_weights(network, settings)
    return network


def _build_loss(settings: GenConViTLossSettings) -> nn.Module:
    from models.genconvit.loss import GenConViTLoss

    return GenConViTLoss(settings)


def _check_input(settings: GenConViTSettings, input_spec: InputSpec) -> None:  # noqa: ARG001  the family contract names it
    """Ask for single faces in 0..1: they are what is reconstructed, and the backbones normalise by themselves."""
    if input_spec.view == "tiles":
        raise SettingsError("input.view = 'tiles': genconvit judges faces, whose views are 'whole' and 'centre'")
    wanted = {"frames": 1, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "ela": None}
    for key, value in wanted.items():
        given = getattr(input_spec, key)
        if given != value:
            raise SettingsError(f"input.{key} = {given!r}: genconvit needs {value!r} (it normalises pixels itself)")


def _face_parts(network: nn.Module) -> FaceParts:
    from models.genconvit.parts import FrameNetwork

    return FaceParts(frames=FrameNetwork(network), outputs=("logits",))


def load_genconvit_from_checkpoint(
    path: Path, backbones: tuple[str, str] | None = None, device: str | torch.device = "cpu"
) -> Found:
    """Load a network ready to judge, and say what was found.

    Args:
        path: a checkpoint of ours, or a bare state dictionary (``.pth``, ``.pt``, ``.safetensors``), also under
            ``state_dict`` or ``model_state_dict`` and with the prefixes of data parallelism or torch.compile.
        backbones: timm's names, for a state dictionary of others than the common ones; a checkpoint names its own.
        device: where to.

    Returns:
        The network in evaluation mode, its settings, its preprocessing where the file says it, and a description.

    Raises:
        StorageError: when there is no file at ``path``.
        BadInputError: when it is damaged, unsafe, or holds no weights.
        MismatchError: when it is no GenConViT, or its backbones are not recognised; everything must match.
    """
    from models.genconvit.loading import load

    return load(FAMILY, path, backbones, device)


FAMILY = Family(
    name="genconvit",
    task="classification",
    class_names=("real", "manipulated"),
    settings=GenConViTSettings,
    loss_settings=GenConViTLossSettings,
    build=_build,
    build_loss=_build_loss,
    check_input=_check_input,
    face_parts=_face_parts,
)
