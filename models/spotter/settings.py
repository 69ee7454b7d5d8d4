"""The settings of the Spotter family."""

from pydantic import Field

from core.settings import Settings


class SpotterSettings(Settings):
    """The network; the defaults have 18 M parameters on EfficientNet-B0 and 24 M on EfficientNet-B3."""

    backbone: str = "efficientnet_b0"
    """timm's name of a network with features at strides 8, 16 and 32; ``efficientnet_b0`` goes with an input of 224 px,
    ``efficientnet_b3`` with 300 px."""
    weights: str = Field(default="imagenet", min_length=1)
    """What the backbone starts from: ``imagenet`` (downloaded), ``random``, ``package:<name>`` (an installed Python
    package that holds weights), or the path of a file (``.pth``, ``.pt``, ``.safetensors``). Weights have their own
    mean and deviation, which belong in the recipe's input."""
    pyramid_channels: int = Field(default=256, ge=8)
    """Channels of each level of the pyramid; a frame's vector is three times as wide."""
    attention_reduction: int = Field(default=4, ge=1, le=8)
    """Channels are weighed through a layer so many times narrower."""
    temporal_layers: int = Field(default=2, ge=0, le=8)
    """Convolutions over time before the recurrent layers."""
    gru_width: int = Field(default=512, ge=1)
    """Width of the recurrent state in each direction."""
    gru_layers: int = Field(default=2, ge=1, le=4)
    """Recurrent layers."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of the features dropped before the classifier and between recurrent layers, in training."""


class SpotterLossSettings(Settings):
    """The loss: weights of its two terms."""

    clip_weight: float = Field(default=1.0, ge=0)
    """Weight of the cross-entropy of clips."""
    frame_weight: float = Field(default=0.5, ge=0)
    """Weight of the cross-entropy of each frame as a clip of its own, which heatmaps explain. In a batch of single
    pictures the two terms are the same."""
