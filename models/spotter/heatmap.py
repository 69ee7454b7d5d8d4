"""Where a frame looks manipulated: multi-scale Grad-CAM in closed form, so that it can be exported.

Grad-CAM (Selvaraju et al., 2017) weighs the channels of a feature map by the mean gradient of the logit, and keeps what
is positive of their sum. Spotter's levels reach the logit through their means alone, so the weights of a level are its
share of the gradient of the logit by the frame's vector, up to a factor that normalising by the maximum removes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.spotter.temporal import KERNEL, TemporalNetwork

SCALE_WEIGHTS = (0.3, 0.3, 0.4)  # of strides 8, 16 and 32, as published


def judge_alone(temporal: TemporalNetwork, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Judge each frame as a clip of one, and differentiate.

    With one frame only the middle of a convolution's kernel meets it, and the state before it is zero.

    Args:
        temporal: in evaluation mode.
        vectors: float32 [B, D].

    Returns:
        The logits [B, 1] and their gradient by the vectors [B, D].
    """
    norm = temporal.norm
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    deviation = torch.sqrt(centred.square().mean(dim=1, keepdim=True) + norm.eps)
    normal = centred / deviation
    features = normal * norm.weight + norm.bias
    kernels, gates = [], []
    for convolution in temporal.convolutions:
        assert isinstance(convolution, nn.Conv1d)  # noqa: S101  the list's type is Module
        kernel = convolution.weight[:, :, KERNEL // 2]
        around = functional.linear(features, kernel, convolution.bias)
        features = features + functional.relu(around)
        kernels.append(kernel)
        gates.append((around > 0).to(vectors.dtype))
    cells = []
    for layer in range(temporal.gru.num_layers):
        pair = [FirstStep(temporal.gru, f"l{layer}{direction}", features) for direction in ("", "_reverse")]
        cells.append(pair)
        features = torch.cat([cell.state for cell in pair], dim=1)
    logits = temporal.head(features)
    gradient = temporal.head.weight.expand(features.shape)
    for pair in reversed(cells):
        halves = gradient.chunk(2, dim=1)
        gradient = pair[0].input_gradient(halves[0]) + pair[1].input_gradient(halves[1])
    for kernel, gate in zip(reversed(kernels), reversed(gates), strict=True):
        gradient = gradient + functional.linear(gradient * gate, kernel.t())
    gradient = gradient * norm.weight
    shift = gradient.mean(dim=1, keepdim=True)
    stretch = (gradient * normal).mean(dim=1, keepdim=True)
    return logits, (gradient - shift - normal * stretch) / deviation


class FirstStep:
    """The first step of one direction of a GRU's layer, from a state of zero, as torch.nn.GRU defines it.

    Args:
        gru: holds the weights.
        suffix: of their names, such as ``l0_reverse``.
        inputs: [B, D].

    Attributes:
        state: [B, H], (1 - z) · n.
    """

    def __init__(self, gru: nn.GRU, suffix: str, inputs: Tensor) -> None:
        self.weight: Tensor = getattr(gru, f"weight_ih_{suffix}")
        bias: Tensor = getattr(gru, f"bias_hh_{suffix}")
        reset, update, new = functional.linear(inputs, self.weight, getattr(gru, f"bias_ih_{suffix}")).chunk(3, dim=1)
        bias_reset, bias_update, self.bias_new = bias.chunk(3)
        self.reset = torch.sigmoid(reset + bias_reset)
        self.update = torch.sigmoid(update + bias_update)
        self.new = torch.tanh(new + self.reset * self.bias_new)
        self.state = (1 - self.update) * self.new

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient by the inputs [B, D] from that by the state [B, H]."""
        new = gradient * (1 - self.update) * (1 - self.new.square())
        update = -gradient * self.new * self.update * (1 - self.update)
        reset = new * self.bias_new * self.reset * (1 - self.reset)
        return torch.cat([reset, update, new], dim=1) @ self.weight


def activation_maps(levels: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
    """Return each level's Grad-CAM.

    Args:
        levels: [B, C, h, w] each, the finest first.
        gradient: of the logit by the vectors, [B, levels · C].

    Returns:
        Maps [B, 1, h, w] in 0..1, the largest value of each 1; all zero where nothing speaks for manipulation.
    """
    maps = []
    for level, weights in zip(levels, gradient.chunk(len(levels), dim=1), strict=True):
        speaks = functional.relu((level * weights.unsqueeze(2).unsqueeze(3)).sum(dim=1, keepdim=True))
        peak = speaks.amax(dim=(2, 3), keepdim=True)
        maps.append(speaks / torch.where(peak > 0, peak, torch.ones_like(peak)))
    return maps


def fuse(maps: Sequence[Tensor]) -> Tensor:
    """Return the weighted mean (``SCALE_WEIGHTS``) of ``maps``, resized to the first: [B, 1, h, w] in 0..1."""
    size = maps[0].shape[-2:]
    resized = [functional.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in maps]
    return torch.stack([weight * one for weight, one in zip(SCALE_WEIGHTS, resized, strict=True)]).sum(dim=0)


def heatmaps(network: nn.Module, pixels: Tensor) -> Mapping[str, Tensor]:
    """Explain the logit of each picture alone.

    Args:
        network: Spotter in evaluation mode.
        pixels: float32 [B, C, S, S], normalised.

    Returns:
        ``multi`` at the finest scale (28 × 28 for 224 px), and the baseline ``single`` at the coarsest (7 × 7):
        [B, 1, h, w] in 0..1.
    """
    levels, _ = network.levels(pixels)  # type: ignore[operator]
    _, gradient = judge_alone(network.temporal, network.vectors(levels))  # type: ignore[arg-type,operator]
    maps = activation_maps(levels, gradient)
    return {"multi": fuse(maps), "single": maps[-1]}
