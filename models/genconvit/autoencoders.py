"""The two autoencoders of GenConViT: both halve the resolution step by step and double it again."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

COLOURS = 3


class Reconstruction(NamedTuple):
    """What the variational autoencoder returns; mu and log-variance are [B, latent, h, w]."""

    pixels: Tensor
    mu: Tensor
    log_variance: Tensor


class Autoencoder(nn.Module):
    """Convolution, batch normalisation, ReLU and pooling a step down; transposed convolutions up; a sigmoid.

    Args:
        widths: channels after each step down.

    Shape:
        - Input: float [B, 3, S, S] in 0..1, of any S ≥ 2^steps. In training B · (S / 2^steps)² must exceed 1.
        - Output: the same shape, in 0..1.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((COLOURS, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.encoder = nn.Sequential(*layers)
        self.decoder = _decoder(widths)
        self.factor = 2 ** len(widths)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the reconstruction of ``pixels``."""
        decoded: Tensor = self.decoder(self.encoder(_pad(pixels, self.factor)))
        return decoded[..., : pixels.shape[-2], : pixels.shape[-1]]


# The prior's log-variance is 0. While the divergence weighs little, in its warm-up, nothing else keeps a log-variance
# from growing until its exponential is all of the loss: at 20 that was seen within 50 batches.
MAX_LOG_VARIANCE = 4.0


class VariationalAutoencoder(nn.Module):
    """Strided convolutions to mean and log-variance of a latent at each cell, and a decoder of a draw from it.

    In training the draw is mu + exp(log-variance / 2) · noise (Kingma and Welling, 2014); in evaluation it is mu, so
    that two evaluations are equal.

    Args:
        widths: channels after each step down.
        latent_width: channels of the latent.

    Shape:
        - Input: as ``Autoencoder``.
        - Output: ``Reconstruction``, its pixels in 0..1 with the input's shape.
    """

    def __init__(self, widths: Sequence[int], latent_width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((COLOURS, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, width, kernel_size=3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.LeakyReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers)
        self.mu = nn.Conv2d(widths[-1], latent_width, kernel_size=1)
        self.log_variance = nn.Conv2d(widths[-1], latent_width, kernel_size=1)
        self.decoder = nn.Sequential(nn.Conv2d(latent_width, widths[-1], kernel_size=1), _decoder(widths))
        self.factor = 2 ** len(widths)

    def forward(self, pixels: Tensor) -> Reconstruction:
        """Return the reconstruction of ``pixels`` and the latent's distribution."""
        encoded = self.encoder(_pad(pixels, self.factor))
        mu, log_variance = self.mu(encoded), self.log_variance(encoded).clamp(max=MAX_LOG_VARIANCE)
        latent = mu
        if self.training:
            latent = mu + torch.exp(0.5 * log_variance) * torch.randn_like(mu)
        decoded = self.decoder(latent)[..., : pixels.shape[-2], : pixels.shape[-1]]
        return Reconstruction(decoded, mu, log_variance)


def _decoder(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in zip(widths[::-1], widths[-2::-1], strict=False):
        layers += [nn.ConvTranspose2d(before, width, kernel_size=2, stride=2, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(inplace=True)]
    layers += [nn.ConvTranspose2d(widths[0], COLOURS, kernel_size=2, stride=2), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _pad(pixels: Tensor, factor: int) -> Tensor:
    """Repeat the last rows and columns up to a multiple of ``factor``, so that the decoder gives back the size."""
    down, right = -pixels.shape[-2] % factor, -pixels.shape[-1] % factor
    return functional.pad(pixels, (0, right, 0, down), mode="replicate")
