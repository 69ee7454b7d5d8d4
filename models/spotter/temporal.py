"""Spotter's view of time: convolutions and a recurrent network over the vectors of a clip's frames."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from models.spotter.recurrence import run

KERNEL = 3  # frames


class Temporal(NamedTuple):
    """What the temporal part makes of the frames of packed clips.

    Attributes:
        vectors: float32 [N, 2 · gru_width], each frame as seen within its clip.
        logits: float32 [N, 1]; the mean over a clip's frames is its logit.
    """

    vectors: Tensor
    logits: Tensor


class TemporalNetwork(nn.Module):
    """Layer normalisation, residual convolutions over time, a GRU in both directions, and a logit for each frame.

    Padding never enters a result: it is zero wherever a convolution reads it, which is what lies beyond the ends of a
    clip anyway, and the recurrence passes over it.

    Args:
        width: of the frames' vectors.
        layers: convolutions.
        gru_width: of the state in each direction.
        gru_layers: recurrent layers.
        dropout: before the logit and between recurrent layers.
    """

    def __init__(self, width: int, layers: int, gru_width: int, gru_layers: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel_size=KERNEL, padding=KERNEL // 2) for _ in range(layers)
        )
        self.gru = nn.GRU(
            width,
            gru_width,
            num_layers=gru_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if gru_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * gru_width, 1)

    def forward(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states [B, T, 2 · gru_width], which mean nothing on padding, and the frames' logits [B, T, 1].

        Logits are zero on padding.

        Args:
            vectors: float32 [B, T, width], padded at the end with anything, even what is no number.
            lengths: int64 [B], in 1..T.
        """
        mask = frame_mask(lengths.to(vectors.device), vectors.shape[1])
        states = run(self.gru, self.convolve(torch.where(mask, vectors, torch.zeros_like(vectors)), mask), mask)
        logits: Tensor = self.head(self.dropout(states))
        return states, logits * mask

    def convolve(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return what the recurrent network reads, [B, T, width].

        Args:
            vectors: [B, T, width].
            mask: bool [B, T, 1], True on frames and False on padding.
        """
        features: Tensor = self.norm(vectors) * mask
        for convolution in self.convolutions:
            around = convolution(features.transpose(1, 2)).transpose(1, 2)
            features = features + functional.relu(around) * mask
        return features


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Return bool [B, frames, 1], whether a place holds a frame of a clip; ``lengths`` is int64 [B]."""
    return (torch.arange(frames, device=lengths.device).unsqueeze(0) < lengths.unsqueeze(1)).unsqueeze(2)


def pad_clips(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Return packed vectors [N, D] as [B, T, D] with zeros at the end, T the largest of ``lengths`` (int64 [B])."""
    return pad_sequence(list(torch.split(vectors, lengths.tolist())), batch_first=True)


def clip_mean(logits: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean over each clip's frames, [B, 1], of logits [B, T, 1] that are zero on padding."""
    return logits.sum(dim=1) / lengths.to(logits).unsqueeze(1)
