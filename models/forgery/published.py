"""The published checkpoints (<variant>_v3_best.pth): what their layout calls the parts of the network, in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import MismatchError
from media.pixel_view import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from torch import Tensor

    from media.spec import InputSpec
    from models.forgery.settings import ForgerySettings

PUBLISHED_PREFIXES = {"base.": "fpn.", "attention.conv.": "gate.layers."}

# The only network that the original loader builds, and how it normalises its pixels.
PUBLISHED_MODEL = {
    "encoder": ("timm-efficientnet-b2",),
    "gate": ("logit",),
    "gate_width": (None, 8),
    "pyramid_channels": (256,),
    "segmentation_channels": (128,),
}
PUBLISHED_INPUT = {"mean": (IMAGENET_MEAN,), "std": (IMAGENET_STD,), "ela": (None,)}


def adapt_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of the published layout (``PUBLISHED_PREFIXES``) to those of ``AttentionFPN``."""
    return _renamed(state, PUBLISHED_PREFIXES)


def publish_state(settings: ForgerySettings, input_spec: InputSpec, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of ``AttentionFPN`` to those of the published layout.

    Raises:
        MismatchError: when the original loader builds another network, or normalises pixels otherwise; names the keys.
    """
    given: list[tuple[str, dict[str, tuple[Any, ...]], Any]]
    given = [("model", PUBLISHED_MODEL, settings), ("input", PUBLISHED_INPUT, input_spec.only)]
    problems = [
        f"{section}.{key} = {getattr(owner, key)!r} (it has {allowed[-1]!r})"
        for section, keys, owner in given
        for key, allowed in keys.items()
        if getattr(owner, key) not in allowed
    ]
    if problems:
        raise MismatchError(f"the original loader builds another network than this: {', '.join(problems)}")
    return _renamed(state, {ours: published for published, ours in PUBLISHED_PREFIXES.items()})


def _renamed(state: dict[str, Tensor], prefixes: dict[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in state.items():
        name = key
        for before, after in prefixes.items():
            if key.startswith(before):
                name = after + key.removeprefix(before)
        renamed[name] = value
    return renamed
