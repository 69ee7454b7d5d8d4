"""Spotter: a feature pyramid with attention for each frame, and a temporal network over the frames of a clip."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.backbone import PYRAMID_STRIDES, PyramidBackbone, start
from models.spotter.pyramid import Attention, FeaturePyramid, PyramidAttention
from models.spotter.settings import SpotterSettings
from models.spotter.temporal import Temporal, TemporalNetwork, clip_mean, frame_mask, pad_clips


class SpotterOutput(NamedTuple):
    """What the network returns in training.

    Attributes:
        logits: float32 [B, 1] of clips.
        frame_logits: float32 [N, 1] of their frames, each judged alone as a clip of one.
    """

    logits: Tensor
    frame_logits: Tensor


class Spotter(nn.Module):
    """Features at strides 8, 16 and 32, joined, weighed by attention, pooled to a vector a frame, and seen over time.

    ``encoder`` is the backbone alone, so that freezing ``encoder.*`` leaves pyramid and attention to learn. The
    temporal part runs in float32, also under autocast.

    In training, batch normalisation needs more than one value a channel: N · (S / 32)² must exceed 1.

    Args:
        settings: backbone and sizes.
        in_channels: channels of the input.

    Attributes:
        width: of a frame's vector.

    Raises:
        SettingsError: when the backbone does not exist or has no features at these strides.
    """

    def __init__(self, settings: SpotterSettings, in_channels: int) -> None:
        super().__init__()
        levels, channels = len(PYRAMID_STRIDES), settings.pyramid_channels
        self.encoder = PyramidBackbone(settings.backbone, in_channels)
        self.pyramid = FeaturePyramid(self.encoder.channels, channels)
        self.attention = PyramidAttention(levels, channels, settings.attention_reduction)
        self.width = levels * channels
        self.temporal = TemporalNetwork(
            self.width, settings.temporal_layers, settings.gru_width, settings.gru_layers, settings.dropout
        )

    def forward(
        self,
        pixels: Tensor,
        lengths: Tensor | None = None,
        *,
        return_temporal: bool = False,
        return_attention: bool = False,
    ) -> Tensor | SpotterOutput | tuple[Tensor | SpotterOutput | Temporal | Attention, ...]:
        """Judge clips.

        Args:
            pixels: float32, normalised: [N, C, S, S], the frames of B clips one after the other; or [B, T, C, S, S],
                clips padded at the end to T frames.
            lengths: int64 [B], frames of each clip, at least 1. None takes each picture of four dimensions for a clip
                of one, and each clip of five for one of T.
            return_temporal: return ``Temporal`` too, the frames of all clips one after the other.
            return_attention: return ``Attention`` too, likewise.

        Returns:
            Logits [B, 1] (in training ``SpotterOutput``); where more is asked for, a tuple that begins with them.
        """
        pixels, counts = _pack(pixels, lengths)
        levels, attention = self.levels(pixels)
        vectors = self.vectors(levels)
        with torch.autocast(vectors.device.type, enabled=False):
            padded = pad_clips(vectors.float(), counts)
            states, frame_logits = self.temporal(padded, counts)
            places = frame_mask(counts, padded.shape[1]).squeeze(2).to(states.device)
            logits = clip_mean(frame_logits, counts.to(states.device))
            result: Tensor | SpotterOutput = logits
            if self.training:
                result = SpotterOutput(logits, self._alone(vectors.float(), logits, padded.shape[1]))
        more: list[Temporal | Attention] = []
        if return_temporal:
            more.append(Temporal(states[places], frame_logits[places]))
        if return_attention:
            more.append(attention)
        return (result, *more) if more else result

    def levels(self, pixels: Tensor) -> tuple[list[Tensor], Attention]:
        """Return the weighed levels of the pyramid [N, C, h, w], the finest first, and their attention."""
        weighed, attention = self.attention(self.pyramid(self.encoder(pixels)))
        return weighed, attention

    @staticmethod
    def vectors(levels: Sequence[Tensor]) -> Tensor:
        """Return the frames' vectors [N, width]: the means of the levels, one after the other."""
        return torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1)

    def _alone(self, vectors: Tensor, logits: Tensor, longest: int) -> Tensor:
        if longest == 1:
            return logits
        single: Tensor = self.temporal(vectors.unsqueeze(1), torch.ones(len(vectors), dtype=torch.int64))[1]
        return single.squeeze(1)


def _pack(pixels: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the frames of all clips one after the other, and the lengths on the CPU, where packing reads them."""
    if pixels.ndim == 4:
        counts = torch.ones(len(pixels), dtype=torch.int64) if lengths is None else lengths.cpu()
        return pixels, counts
    clips, frames = pixels.shape[:2]
    counts = torch.full((clips,), frames, dtype=torch.int64) if lengths is None else lengths.cpu()
    return pixels[frame_mask(counts, frames).squeeze(2).to(pixels.device)], counts


def load_backbone_weights(network: Spotter, settings: SpotterSettings) -> None:
    """Fill the encoder of ``network`` with what ``settings.weights`` names.

    Raises:
        StorageError, SettingsError, BadInputError, MismatchError: as ``models.backbone.start``.
    """
    start(network.encoder, settings.weights)
