"""GenConViT: two backbones judge what an autoencoder, and a variational one, make of a picture."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.errors import SettingsError
from media.spec import InputSpec
from models.backbone import PooledBackbone, start
from models.genconvit.autoencoders import COLOURS, Autoencoder, VariationalAutoencoder
from models.genconvit.settings import GenConViTSettings
from models.network import Network, only, require_two

# What public GenConViTs call the two. Their autoencoders and classifiers are other networks; these alone fit.
PUBLIC_BACKBONES = (("convnext.", "convnext_backbone.", "backbone."), ("swin.",))


class GenConViTOutput(NamedTuple):
    """What the network returns in training; A is the path of the autoencoder, B that of the variational one.

    Attributes:
        logits_a: [B, 1].
        logits_b: [B, 1].
        reconstruction_a: [B, 3, S, S] in 0..1.
        reconstruction_b: the same.
        mu: [B, latent, h, w].
        log_variance: the same.
        batches: int64 scalar, training batches that the network has seen, this one included.
    """

    logits_a: Tensor
    logits_b: Tensor
    reconstruction_a: Tensor
    reconstruction_b: Tensor
    mu: Tensor
    log_variance: Tensor
    batches: Tensor


class HybridClassifier(nn.Module):
    """Adds the features of the backbones, joins those of the views, and classifies.

    Backbones of different widths are projected to the largest.

    Args:
        backbones: timm's names.
        pictures: how many it is shown of each sample.
        dropout: before each layer of the classifier.

    Shape:
        - Input: ``pictures`` tensors [B, 3, S, S] in 0..1.
        - Output: logits [B, 1].
    """

    def __init__(self, backbones: Sequence[str], pictures: int, dropout: float) -> None:
        super().__init__()
        built = [PooledBackbone(name) for name in backbones]
        width = max(backbone.width for backbone in built)
        self.backbones = nn.ModuleList(built)
        self.projections = nn.ModuleList(
            nn.Identity() if backbone.width == width else nn.Linear(backbone.width, width) for backbone in built
        )
        hidden = max(width // 4, 1)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(pictures * width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, pictures: Sequence[Tensor]) -> Tensor:
        """Return the logits of samples seen as ``pictures``."""
        logits: Tensor = self.head(torch.cat([self.features(picture) for picture in pictures], dim=1))
        return logits

    def features(self, pixels: Tensor) -> Tensor:
        """Return the sum of the backbones' features of ``pixels``, [B, width]."""
        parts = [project(backbone(pixels)) for backbone, project in zip(self.backbones, self.projections, strict=True)]
        return torch.stack(parts).sum(dim=0)


class GenConViT(Network):
    """The generative convolutional vision transformer (Deressa et al., 2023), both paths trained as one.

    A: the backbones' features of the autoencoder's reconstruction; B: the same, with backbones of its own, behind the
    variational autoencoder. With ``views: input+reconstruction`` they see the picture itself too. The prediction is
    the mean of the two logits.

    The state counts the batches trained on, for the warm-up of the loss: so it goes on after an interruption, and a
    network that is fine-tuned does not begin it again.

    Args:
        settings: backbones and sizes.
        input_spec: of one view, in colour alone.
        classes: names of two.

    Shape:
        - Input: float32 [B, 3, S, S], pixels in 0..1; S what the backbones and ``Autoencoder`` allow.
        - Output: in evaluation logits [B, 1]; in training ``GenConViTOutput``.

    Raises:
        SettingsError: when a backbone does not exist or cannot be used, or input or classes are others.
    """

    batches: Tensor

    def __init__(self, settings: GenConViTSettings, input_spec: InputSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        require_two(classes, "genconvit")
        channels = input_spec.only.tensor.shape[0]
        if channels != COLOURS:
            raise SettingsError(f"genconvit reconstructs pictures of {COLOURS} channels, the input has {channels}")
        self.settings = settings
        self.with_input = settings.views == "input+reconstruction"
        self.autoencoder = Autoencoder(settings.autoencoder_widths)
        self.vae = VariationalAutoencoder(settings.autoencoder_widths, settings.latent_width)
        pictures = 2 if self.with_input else 1
        self.classifier_a = HybridClassifier(settings.backbones, pictures, settings.dropout)
        self.classifier_b = HybridClassifier(settings.backbones, pictures, settings.dropout)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def load_starting_weights(self) -> None:
        """Fill the backbones of both paths with what ``settings.weights`` names."""
        for classifier in (self.classifier_a, self.classifier_b):
            for backbone, weights, names in zip(
                classifier.backbones, self.settings.weights, PUBLIC_BACKBONES, strict=True
            ):
                assert isinstance(backbone, PooledBackbone)  # noqa: S101  the list's type is Module
                start(backbone, weights, names)

    def forward(self, views: Mapping[str, Tensor], lengths: None = None) -> Tensor | GenConViTOutput:
        """Return the logits of the one view's pixels; in training what the loss needs besides."""
        del lengths
        pixels = only(views)
        reconstruction_a = self.autoencoder(pixels)
        reconstruction_b, mu, log_variance = self.vae(pixels)
        logits_a = self.classifier_a(self._pictures(pixels, reconstruction_a))
        logits_b = self.classifier_b(self._pictures(pixels, reconstruction_b))
        if not self.training:
            mean: Tensor = (logits_a + logits_b) / 2
            return mean
        self.batches += 1
        return GenConViTOutput(
            logits_a, logits_b, reconstruction_a, reconstruction_b, mu, log_variance, self.batches.clone()
        )

    def _pictures(self, pixels: Tensor, reconstruction: Tensor) -> list[Tensor]:
        return [pixels, reconstruction] if self.with_input else [reconstruction]
