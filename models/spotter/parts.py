"""Spotter as it is exported: frames by themselves with their heatmaps, and clips of their vectors."""

import torch
from torch import Tensor, nn

from models.spotter.heatmap import activation_maps, fuse, judge_alone
from models.spotter.network import Spotter
from models.spotter.temporal import TemporalNetwork, clip_mean, frame_mask


class FrameNetwork(nn.Module):
    """Spotter up to the frames' vectors, each frame's logit alone, and the heatmap that explains it.

    Args:
        network: in evaluation mode; its weights are shared.

    Shape:
        - Input: float32 [B, C, S, S], normalised.
        - Output: logits [B, 1], vectors [B, D], heatmap [B, 1, h, w] in 0..1.
    """

    def __init__(self, network: Spotter) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge each picture."""
        levels, _ = self.network.levels(pixels)
        vectors = self.network.vectors(levels)
        logits, gradient = judge_alone(self.network.temporal, vectors)
        return logits, vectors, fuse(activation_maps(levels, gradient))


class ClipNetwork(nn.Module):
    """Spotter from the frames' vectors on, its recurrent layers written out step by step.

    Packed sequences, which training uses, have a number of steps that depends on the data: no exported graph can say
    that. Here every clip takes T steps, and a step on padding leaves the state as it is.

    Args:
        temporal: in evaluation mode; its weights are shared.

    Shape:
        - Input: vectors float32 [B, T, D], padded at the end, and lengths int64 [B] in 1..T.
        - Output: logits [B, 1].
    """

    def __init__(self, temporal: TemporalNetwork) -> None:
        super().__init__()
        self.temporal = temporal

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Judge each clip."""
        mask = frame_mask(lengths, vectors.shape[1]).to(vectors.dtype)
        # What lies in the padding may be anything, even no number.
        vectors = torch.where(mask > 0, vectors, torch.zeros_like(vectors))
        features = self.temporal.convolve(vectors, mask)
        for layer in range(self.temporal.gru.num_layers):
            onward = self._run(f"l{layer}", features, mask, backwards=False)
            back = self._run(f"l{layer}_reverse", features, mask, backwards=True)
            features = torch.cat([onward, back], dim=2)
        return clip_mean(self.temporal.head(features) * mask, lengths)

    def _run(self, suffix: str, inputs: Tensor, mask: Tensor, backwards: bool) -> Tensor:
        """Return the states [B, T, H] of one direction of one layer."""
        gru = self.temporal.gru
        weight, bias = getattr(gru, f"weight_hh_{suffix}"), getattr(gru, f"bias_hh_{suffix}")
        driven = nn.functional.linear(inputs, getattr(gru, f"weight_ih_{suffix}"), getattr(gru, f"bias_ih_{suffix}"))
        steps = list(zip(driven.unbind(1), mask.unbind(1), strict=True))
        state = torch.zeros_like(driven[:, 0, : gru.hidden_size])
        states = []
        for step, present in reversed(steps) if backwards else steps:
            reset, update, new = step.chunk(3, dim=1)
            own_reset, own_update, own_new = nn.functional.linear(state, weight, bias).chunk(3, dim=1)
            gate = torch.sigmoid(update + own_update)
            fresh = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
            state = torch.where(present > 0, gate * state + (1 - gate) * fresh, state)
            states.append(state)
        return torch.stack(states[::-1] if backwards else states, dim=1)
