"""The settings of the forgery family."""

from typing import Literal

from pydantic import Field, field_validator

from core.settings import Settings


class ForgerySettings(Settings):
    """The network: which encoder, what it starts from, and the gate."""

    encoder: str = "timm-efficientnet-b2"
    """Any encoder of segmentation_models_pytorch; ``tu-<name>`` for any of timm's. Prefer ``tu-tf_...`` to
    ``timm-tf_...`` where weights were trained in TensorFlow: only the former pads and normalises as they expect
    (padding "same", epsilon 1e-3), and the features of the latter differ greatly."""
    weights: str = Field(default="imagenet", min_length=1)
    """What the encoder starts from: ``imagenet`` (downloaded), ``random``, ``package:efficientnet-lite0`` (an installed
    Python package that holds weights), or the path of a file (``.pth``, ``.pt``, ``.safetensors``) with the encoder's
    weights under timm's names. Weights have their own mean and deviation, which belong in the recipe's input (.498 and
    .502 for efficientnet-lite0)."""
    gate: Literal["logit", "features", "none"] = "logit"
    """``logit``, the published attention on the finished logit map; ``features``, an additive attention on the
    pyramid's features, which does nothing at the start; ``none``."""
    gate_width: int | None = Field(default=None, ge=2, multiple_of=2)
    """Channels inside the gate. Null takes 8 for ``logit``, as published, and half the channels of the features for
    ``features``."""
    pyramid_channels: int = Field(default=256, ge=8)
    """Channels of the pyramid's levels."""
    # Group normalisation in the decoder makes groups of 32.
    segmentation_channels: int = Field(default=128, ge=32, multiple_of=32)
    """Channels of the features that the head sees, a multiple of 32."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of those channels dropped in training."""


class ForgeryLossSettings(Settings):
    """The loss: weights of its three terms and their shapes.

    The defaults are those of the published training code of the second stage, which differs in two places from the
    paper that its focal term is named after and from what the last term's name suggests: ``focal_form`` and
    ``authentic_mean`` say where, and offer both.
    """

    focal_weight: float = Field(default=0.5, ge=0)
    """Weight of the focal term; as published."""
    dice_weight: float = Field(default=0.5, ge=0)
    """Weight of the Dice (Tversky) term; as published."""
    authentic_weight: float = Field(default=4.0, ge=0)
    """Weight of the probability put on authentic images; published are 4 in the second stage and 2 in the first."""
    focal_alpha: float = Field(default=0.25, ge=0, le=1)
    """Weight of forged pixels in the focal term; as published, where it is that of all pixels."""
    focal_form: Literal["published", "paper"] = "published"
    """What authentic pixels weigh in the focal term: ``focal_alpha`` too as in the ``published`` code, so that alpha
    only scales the term; or 1 - ``focal_alpha`` as in the ``paper`` (Lin et al., 2017) and in
    segmentation_models_pytorch, so that a larger alpha leans to recall."""
    focal_gamma: float = Field(default=2.0, ge=0)
    """How strongly the focal term discounts pixels already right; 0, or 1 and more. 2 is published and the paper's."""
    authentic_mean: Literal["batch", "authentic"] = "batch"
    """What the sum of probabilities on authentic images is divided by: the pixels of the whole ``batch`` as in the
    published code, so that the term grows with the share of authentic images in it; or those of its ``authentic``
    images alone, so that it does not."""
    tversky_beta: float = Field(default=0.5, ge=0, le=1)
    """Cost of a forged pixel missed, against 1 - beta for an authentic pixel marked. 0.5 is Dice, as published; larger
    leans to recall."""

    @field_validator("focal_gamma")
    @classmethod
    def _differentiable(cls, value: float) -> float:
        # The derivative of x**gamma is infinite at 0, where every pixel that is surely right lies.
        if 0 < value < 1:
            raise ValueError("must be 0, or 1 and more: in between the gradient is infinite where a pixel is right")
        return value
