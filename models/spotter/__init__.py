"""Spotter: judges the face of a clip by three scales of every frame and by how they change, and shows where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.errors import SettingsError
from models.family import FaceParts, Family
from models.spotter.settings import SpotterLossSettings, SpotterSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from media.spec import InputSpec


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
    if input_spec.view != "whole":
        raise SettingsError(f"input.view = {input_spec.view!r}: spotter judges whole faces, view must be 'whole'")


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
