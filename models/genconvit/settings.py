"""The settings of the GenConViT family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from core.errors import SettingsError
from core.settings import Settings

if TYPE_CHECKING:
    from media.spec import InputSpec


class GenConViTSettings(Settings):
    """The network: two backbones behind an autoencoder and, again, behind a variational autoencoder.

    The published networks are ConvNeXt-T and Swin-T, and at 224 px a latent of 256 × 7 × 7 = 12,544 numbers.
    """

    backbones: tuple[str, str] = ("convnext_tiny", "swin_tiny_patch4_window7_224")
    """timm's names of the two."""
    weights: tuple[str, str] = ("imagenet", "imagenet")
    """What each starts from, in both paths: ``imagenet`` (downloaded), ``random``, ``package:<name>`` (an installed
    Python package that holds weights), or the path of a file (``.pth``, ``.pt``, ``.safetensors``)."""
    autoencoder_widths: tuple[int, ...] = Field(default=(16, 32, 64, 128, 256), min_length=1, max_length=5)
    """Channels after each halving of the resolution, in both autoencoders."""
    latent_width: int = Field(default=256, ge=1)
    """Channels of the variational autoencoder's latent, at each of its cells."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the joined features dropped before each layer of the classifier, in training."""
    views: Literal["reconstruction", "input+reconstruction"] = "reconstruction"
    """What the backbones see: ``reconstruction``, or ``input+reconstruction``, whose features are joined end to end."""


class GenConViTLossSettings(Settings):
    """The loss: weights of its parts."""

    cross_entropy_weight: float = Field(default=1.0, ge=0)
    """Weight of the cross-entropy, the mean of both paths'."""
    autoencoder_weight: float = Field(default=50.0, ge=0)
    """Weight of the autoencoder's squared error. At 1 the gradient of the cross-entropy drowns that of the pixels, and
    the backbones are shown grey; 50 is the likelihood of pixels with a deviation of 0.1."""
    vae_weight: float = Field(default=50.0, ge=0)
    """Weight of the variational autoencoder's part, squared error + ``kl_weight`` · divergence."""
    kl_weight: float = Field(default=0.005, ge=0)
    """Weight of the divergence within it. With both terms as means over the picture's values, the evidence lower bound
    has 2 σ² in this place, where σ is the deviation that the decoder allows a pixel: 0.005 is σ = 0.05."""
    kl_warmup_batches: int = Field(default=1000, ge=0)
    """Training batches over which ``kl_weight`` rises linearly from 0, counted in the network's state; the latent would
    otherwise collapse before the decoder reads anything from it."""


def check_input(settings: GenConViTSettings, input_spec: InputSpec) -> None:
    """Ask for pixels in 0..1: they are what is reconstructed, and the backbones normalise by themselves.

    Raises:
        SettingsError: naming the key, its value and what is allowed.
    """
    del settings
    for name, view in input_spec.views.items():
        for key, needed in {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "ela": None}.items():
            value = getattr(view, key)
            if value != needed:
                raise SettingsError(
                    f"input.views.{name}.{key} = {value!r}: genconvit needs {needed!r} (it normalises pixels itself)"
                )
