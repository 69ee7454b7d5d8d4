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
    """The loss: weights of its three terms and their shapes; the defaults are the published ones."""

    focal_weight: float = Field(default=0.5, ge=0)
    """Weight of the focal term."""
    dice_weight: float = Field(default=0.5, ge=0)
    """Weight of the Dice (Tversky) term."""
    authentic_weight: float = Field(default=4.0, ge=0)
    """Weight of the mean probability on authentic images."""
    focal_alpha: float = Field(default=0.25, ge=0, le=1)
    """Weight of forged pixels in the focal term, against 1 - alpha for the others. Larger leans to recall."""
    focal_gamma: float = Field(default=2.0, ge=0)
    """How strongly the focal term discounts pixels already right; 0, or 1 and more."""
    tversky_beta: float = Field(default=0.5, ge=0, le=1)
    """Cost of a forged pixel missed, against 1 - beta for an authentic pixel marked. 0.5 is Dice; larger leans to
    recall."""

    @field_validator("focal_gamma")
    @classmethod
    def _differentiable(cls, value: float) -> float:
        # The derivative of x**gamma is infinite at 0, where every pixel that is surely right lies.
        if 0 < value < 1:
            raise ValueError("must be 0, or 1 and more: in between the gradient is infinite where a pixel is right")
        return value
