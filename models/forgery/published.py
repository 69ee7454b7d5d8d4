"""The published checkpoints (<variant>_v3_best.pth): what their layout calls the parts of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED_PREFIXES = {"base.": "fpn.", "attention.conv.": "gate.layers."}


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
