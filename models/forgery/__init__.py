"""Forgery: finds the forged pixels of a photograph with a feature pyramid network and an attention gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.family import Family
from models.forgery.settings import ForgeryLossSettings, ForgerySettings

if TYPE_CHECKING:
    from torch import Tensor, nn

# The published checkpoints (<variant>_v3_best.pth) hold the pyramid as `base` and the gate as `attention.conv`.
PUBLISHED_PREFIXES = {"base.": "fpn.", "attention.conv.": "gate.layers."}


def _build(settings: ForgerySettings, in_channels: int, *, pretrained: bool = True) -> nn.Module:
    # Imported here so that reading a recipe does not wait for torch.
    from models.forgery.network import AttentionFPN, load_encoder_weights

    network = AttentionFPN(settings, in_channels)
    if pretrained:
        load_encoder_weights(network, settings)
    return network


def _build_loss(settings: ForgeryLossSettings) -> nn.Module:
    from models.forgery.loss import ForgeryLoss

    return ForgeryLoss(settings)


def adapt_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of the published layout (``PUBLISHED_PREFIXES``) to those of ``AttentionFPN``."""
    adapted = {}
    for key, value in state.items():
        name = key
        for published, ours in PUBLISHED_PREFIXES.items():
            if key.startswith(published):
                name = ours + key.removeprefix(published)
        adapted[name] = value
    return adapted


FAMILY = Family(
    name="forgery",
    task="segmentation",
    class_names=("authentic", "forged"),
    settings=ForgerySettings,
    loss_settings=ForgeryLossSettings,
    build=_build,
    build_loss=_build_loss,
    adapt_state_dict=adapt_published,
    replaceable=("gate.",),
)
