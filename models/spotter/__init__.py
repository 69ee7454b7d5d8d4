"""Spotter: judges the face of a clip by three scales of every frame and by how they change, and shows where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import SettingsError
from models.family import FaceParts, Family
from models.spotter.settings import SpotterLossSettings, SpotterSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from media.spec import InputSpec
    from models.loading import Found


def _build(settings: SpotterSettings, in_channels: int, *, pretrained: bool = True) -> nn.Module:
    # Imported here so that reading a recipe does not wait for torch.
    from models.spotter.network import Spotter, load_backbone_weights

    network = Spotter(settings, in_channels)
    if pretrained:
        load_backbone_weights(network, settings)
    return network


def _build_loss(settings: SpotterLossSettings) -> nn.Module:
    from models.spotter.loss import SpotterLoss

    return SpotterLoss(settings)


def _check_input(settings: SpotterSettings, input_spec: InputSpec) -> None:  # noqa: ARG001  the family contract names it
    if input_spec.view == "tiles":
        raise SettingsError("input.view = 'tiles': spotter judges faces, whose views are 'whole' and 'centre'")


def _face_parts(network: nn.Module) -> FaceParts:
    from models.spotter.network import Spotter
    from models.spotter.parts import ClipNetwork, FrameNetwork

    assert isinstance(network, Spotter)  # noqa: S101  a family takes apart what it built
    return FaceParts(
        frames=FrameNetwork(network), outputs=("logits", "vectors", "heatmap"), clip=ClipNetwork(network.temporal)
    )


def _heatmaps(network: nn.Module, pixels: Tensor) -> Mapping[str, Tensor]:
    from models.spotter.heatmap import heatmaps

    return heatmaps(network, pixels)


def load_spotter(path: Path, device: str | torch.device = "cpu") -> Found:
    """Load a network ready to judge, and say what was found; whether it is B0 or B3 is told by the weights.

    Args:
        path: a checkpoint of ours, or a bare state dictionary (see ``models.loading``); or a folder of such files, of
            which one on EfficientNet-B3 is preferred, with one on EfficientNet-B0 as fallback when none of B3 can be
            read.
        device: where to.

    Returns:
        The network in evaluation mode, its settings, its preprocessing where the file says it, and a description,
        which also names the files of a folder that were not taken and why.

    Raises:
        StorageError: when there is no file, or no readable one in a folder.
        BadInputError: when a file is damaged, unsafe, or holds no weights.
        MismatchError: when it is no Spotter, or a folder holds several of the preferred kind.
    """
    from models.spotter.loading import load

    return load(FAMILY, path, device)


FAMILY = Family(
    name="spotter",
    task="classification",
    class_names=("real", "manipulated"),
    settings=SpotterSettings,
    loss_settings=SpotterLossSettings,
    build=_build,
    build_loss=_build_loss,
    clips=True,
    check_input=_check_input,
    face_parts=_face_parts,
    heatmaps=_heatmaps,
)
