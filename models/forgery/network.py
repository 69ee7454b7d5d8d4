"""AttentionFPN: a feature pyramid network with one class and an attention gate."""

from collections.abc import Mapping

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import SettingsError, unknown_name
from media.spec import InputSpec
from models.forgery.settings import ForgerySettings
from models.network import Network, only, require_two
from models.pretrained import download, fit_weights, read_weights

LOGIT_GATE_WIDTH = 8  # of the published checkpoints


class LogitGate(nn.Module):
    """The published gate: an attention map computed from the finished logits, which it multiplies.

    1×1 conv, BN, ReLU, 3×3 conv, BN, ReLU, 1×1 conv, sigmoid. It can only pull logits towards 0, that is
    probabilities towards one half.

    Args:
        width: channels after the first convolution; half as many after the second.

    Shape:
        - Input and output: logits [B, 1, H, W].
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, kernel_size=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width // 2, kernel_size=3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 2, 1, kernel_size=1),
            nn.Sigmoid(),
        )

    def forward(self, logits: Tensor) -> Tensor:
        """Return the logits times their attention map."""
        gated: Tensor = logits * self.layers(logits)
        return gated


class FeatureGate(nn.Module):
    """Additive attention on the pyramid's features, with the deepest encoder features as context.

    α = sigmoid(ψ(ReLU(BN(W x + U g)))) as in Attention U-Net (Oktay et al., 2018), applied as x · (1 + γ α). γ is
    learned and starts at 0, so a network loaded from a base without this gate gives the very same output.

    Args:
        channels: channels of the features x.
        context_channels: channels of the context g.
        width: channels in which the two are added.

    Shape:
        - Input: features [B, channels, h, w], context [B, context_channels, h', w'] of any size.
        - Output: [B, channels, h, w].
    """

    def __init__(self, channels: int, context_channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.context = nn.Conv2d(context_channels, width, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.attention = nn.Conv2d(width, 1, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Return the features, strengthened where the attention lies."""
        around = functional.interpolate(self.context(context), size=features.shape[-2:], mode="bilinear")
        joint = functional.relu(self.norm(self.features(features) + around))
        return features * (1 + self.gamma * torch.sigmoid(self.attention(joint)))


class AttentionFPN(Network):
    """smp.FPN with one class and the gate that ``settings`` names; its weights are random until loaded.

    The pyramid's features have a quarter of the input's resolution. The ``features`` gate works on them; then the head
    makes one logit of each and enlarges the map four times; the ``logit`` gate works on that, as published.

    In training, batch normalisation needs more than one value a channel: B · (S / 32)² must exceed 1.

    Args:
        settings: encoder, gate and sizes.
        input_spec: of one view, whose channels are 3, or 6 with error level analysis.
        classes: names of two.

    Shape:
        - Input: float32 [B, channels, S, S], normalised; S a multiple of 32.
        - Output: logits [B, 1, S, S].

    Raises:
        SettingsError: when the encoder does not exist or cannot be used in a pyramid, or there are more classes.
    """

    def __init__(self, settings: ForgerySettings, input_spec: InputSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        require_two(classes, "forgery")
        _require_encoder(settings.encoder)
        self.settings = settings
        in_channels = input_spec.only.tensor.shape[0]
        try:
            self.fpn = smp.FPN(
                encoder_name=settings.encoder,
                encoder_weights=None,
                decoder_pyramid_channels=settings.pyramid_channels,
                decoder_segmentation_channels=settings.segmentation_channels,
                decoder_dropout=settings.dropout,
                in_channels=in_channels,
                classes=1,
            )
        except (KeyError, ValueError, TypeError, NotImplementedError, RuntimeError) as error:
            raise SettingsError(
                f"encoder {settings.encoder!r} does not work in a pyramid with {in_channels} channels: {error}"
            ) from error
        self.gate: nn.Module = self._make_gate(settings)
        self._freeze_unused(in_channels)

    def _make_gate(self, settings: ForgerySettings) -> nn.Module:
        if settings.gate == "logit":
            return LogitGate(settings.gate_width or LOGIT_GATE_WIDTH)
        if settings.gate == "features":
            channels = settings.segmentation_channels
            return FeatureGate(channels, self.fpn.encoder.out_channels[-1], settings.gate_width or channels // 2)
        return nn.Identity()

    def _freeze_unused(self, in_channels: int) -> None:
        # Some encoders carry layers that only their classifier used. They stay, since published checkpoints hold them,
        # but are no longer trainable: distributed training refuses parameters that receive no gradient.
        self.eval()
        with torch.enable_grad():
            output = self._logits(torch.zeros(1, in_channels, 64, 64)).sum()
        parameters = list(self.parameters())
        gradients = torch.autograd.grad(output, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        self.train()

    def forward(self, views: Mapping[str, Tensor], lengths: None = None) -> Tensor:
        """Return the logits of the one view's pixels."""
        del lengths
        return self._logits(only(views))

    def load_starting_weights(self) -> None:
        """Fill the encoder with what ``settings.weights`` names."""
        encoder, source = self.fpn.encoder, self.settings.weights
        if source == "random":
            return
        state = _imagenet(self.settings.encoder) if source == "imagenet" else read_weights(source)
        encoder.load_state_dict(fit_weights(state, encoder.state_dict(), source))

    def _logits(self, pixels: Tensor) -> Tensor:
        stages = self.fpn.encoder(pixels)
        features = self.fpn.decoder(stages)
        if isinstance(self.gate, FeatureGate):
            features = self.gate(features, stages[-1])
        logits: Tensor = self.fpn.segmentation_head(features)
        return self.gate(logits) if isinstance(self.gate, LogitGate) else logits


def _require_encoder(name: str) -> None:
    if name.startswith("tu-"):
        if not timm.is_model(name.removeprefix("tu-")):
            raise unknown_name("encoder", name, [f"tu-{model}" for model in timm.list_models()])
    elif name not in smp.encoders.encoders:
        raise unknown_name("encoder", name, smp.encoders.get_encoder_names())


def _imagenet(encoder: str) -> dict[str, Tensor]:
    # timm's own models know one set of weights by name, which is asked for with True.
    which = True if encoder.startswith("tu-") else "imagenet"
    pretrained = download(f"ImageNet weights of {encoder}", lambda: smp.encoders.get_encoder(encoder, weights=which))
    state: dict[str, Tensor] = pretrained.state_dict()
    return state
