"""Where a frame looks manipulated: multi-scale Grad-CAM in closed form, so that it can be exported.

Grad-CAM (Selvaraju et al., 2017) weighs the channels of a feature map by the mean gradient of the logit, and keeps what
is positive of their sum. Spotter's levels reach the logit through their means alone, so the weights of a level are its
share of the gradient of the logit by the frame's vector, up to a factor that normalising by the maximum removes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.spotter.recurrence import directions, first_step
from models.spotter.temporal import KERNEL, TemporalNetwork

SCALE_WEIGHTS = (0.3, 0.3, 0.4)  # of strides 8, 16 and 32, as published


def frame_gradients(temporal: TemporalNetwork, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the logit of each frame as a clip of one, and its gradient by the frame's vector.

    With one frame only the middle of a convolution's kernel meets it, and the recurrence takes one step.

    Args:
        temporal: in evaluation mode.
        vectors: float32 [B, D].

    Returns:
        The logits [B, 1] and their gradients [B, D].
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
    layers = []
    for layer in range(temporal.gru.num_layers):
        steps = [(first_step(features, direction), direction) for direction in directions(temporal.gru, layer)]
        layers.append(steps)
        features = torch.cat([one.state for one, _ in steps], dim=1)
    logits = temporal.head(features)
    gradient = temporal.head.weight.expand(features.shape)
    for (onward, onward_weights), (back, back_weights) in reversed(layers):
        halves = gradient.chunk(2, dim=1)
        gradient = onward.input_gradient(halves[0], onward_weights) + back.input_gradient(halves[1], back_weights)
    for kernel, gate in zip(reversed(kernels), reversed(gates), strict=True):
        gradient = gradient + functional.linear(gradient * gate, kernel.t())
    gradient = gradient * norm.weight
    shift = gradient.mean(dim=1, keepdim=True)
    stretch = (gradient * normal).mean(dim=1, keepdim=True)
    return logits, (gradient - shift - normal * stretch) / deviation


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
        positive = functional.relu((level * weights.unsqueeze(2).unsqueeze(3)).sum(dim=1, keepdim=True))
        peak = positive.amax(dim=(2, 3), keepdim=True)
        maps.append(positive / torch.where(peak > 0, peak, torch.ones_like(peak)))
    return maps


def fuse(maps: Sequence[Tensor]) -> Tensor:
    """Return the weighted mean (``SCALE_WEIGHTS``) of ``maps``, resized to the first: [B, 1, h, w] in 0..1."""
    size = maps[0].shape[-2:]
    resized = [functional.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in maps]
    return torch.stack([weight * one for weight, one in zip(SCALE_WEIGHTS, resized, strict=True)]).sum(dim=0)
