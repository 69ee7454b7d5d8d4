"""Spotter's pyramid: features of three scales joined, and what in them deserves attention."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SPATIAL_KERNEL = 7  # as in CBAM


class Attention(NamedTuple):
    """Where a network looks, level by level, the finest first.

    Attributes:
        channels: weights [N, C, 1, 1] in 0..1.
        places: maps [N, 1, h, w] in 0..1.
    """

    channels: tuple[Tensor, ...]
    places: tuple[Tensor, ...]


class FeaturePyramid(nn.Module):
    """A feature pyramid (Lin et al., 2017) with normalised, rectified levels.

    Args:
        in_channels: channels of the encoder's features, the finest first.
        channels: channels of each level.

    Shape:
        - Input: a tensor [N, in_channels, h, w] for each level, the finest first.
        - Output: tensors [N, channels, h, w] of the same sizes.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, kernel_size=1) for width in in_channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Join ``features``."""
        laterals = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        joined = [laterals[-1]]
        for finer in laterals[-2::-1]:
            joined.insert(0, finer + functional.interpolate(joined[0], size=finer.shape[-2:], mode="nearest"))
        return [smooth(level) for smooth, level in zip(self.smooth, joined, strict=True)]


class ChannelSpatialAttention(nn.Module):
    """Channel attention, then spatial attention, as in CBAM (Woo et al., 2018).

    Channels: sigmoid(MLP(mean over places) + MLP(maximum over places)); places: sigmoid of a 7 × 7 convolution of the
    mean and the maximum over channels.

    Args:
        channels: of the features.
        reduction: the MLP's hidden layer is so many times narrower.

    Shape:
        - Input: [N, channels, h, w].
        - Output: the same, and the weights [N, channels, 1, 1] and [N, 1, h, w].
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, kernel_size=1),
        )
        self.place = nn.Conv2d(2, 1, kernel_size=SPATIAL_KERNEL, padding=SPATIAL_KERNEL // 2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weigh ``features``."""
        mean, peak = features.mean(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True)
        channels = torch.sigmoid(self.mlp(mean) + self.mlp(peak))
        weighed = features * channels
        summary = torch.cat([weighed.mean(dim=1, keepdim=True), weighed.amax(dim=1, keepdim=True)], dim=1)
        places = torch.sigmoid(self.place(summary))
        return weighed * places, channels, places


class PyramidAttention(nn.Module):
    """A ``ChannelSpatialAttention`` for each level of the pyramid.

    Args:
        levels: how many.
        channels: of each level.
        reduction: see ``ChannelSpatialAttention``.

    Shape:
        - Input: tensors [N, channels, h, w], the finest first.
        - Output: the same shapes, and ``Attention``.
    """

    def __init__(self, levels: int, channels: int, reduction: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ChannelSpatialAttention(channels, reduction) for _ in range(levels))

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Attention]:
        """Weigh ``features``."""
        results = [attention(level) for attention, level in zip(self.levels, features, strict=True)]
        weighed = [level for level, _, _ in results]
        attention = Attention(
            channels=tuple(channels for _, channels, _ in results), places=tuple(places for _, _, places in results)
        )
        return weighed, attention
