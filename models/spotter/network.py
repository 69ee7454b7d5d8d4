"""Spotter: a feature pyramid with attention for each frame, and a temporal network over the frames of a clip."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from media.spec import InputSpec
from media.tensors import TensorSpec
from models.backbone import PYRAMID_STRIDES, PyramidBackbone, start
from models.network import Network, Part, only, require_two
from models.spotter.heatmap import activation_maps, frame_gradients, fuse
from models.spotter.pyramid import Attention, FeaturePyramid, PyramidAttention
from models.spotter.settings import SpotterSettings
from models.spotter.temporal import Temporal, TemporalNetwork, clip_mean, frame_mask, pad_clips

PUBLIC_BACKBONE = ("backbone.",)  # of the public Spotter, whose other parts are other networks


class SpotterOutput(NamedTuple):
    """What the network returns in training.

    Attributes:
        logits: float32 [B, 1] of clips.
        frame_logits: float32 [N, 1] of their frames, each as a clip of one.
    """

    logits: Tensor
    frame_logits: Tensor


class Spotter(Network):
    """Features at strides 8, 16 and 32, joined, weighed by attention, pooled to a vector a frame, and seen over time.

    ``encoder`` is the backbone alone, so that freezing ``encoder.*`` leaves pyramid and attention to learn. The
    temporal part runs in float32, also under autocast.

    In training, batch normalisation needs more than one value a channel: N · (S / 32)² must exceed 1.

    Args:
        settings: backbone and sizes.
        input_spec: of one view.
        classes: names of two.

    Attributes:
        width: of a frame's vector.

    Raises:
        SettingsError: when the backbone does not exist or has no features at these strides, or there are more classes.
    """

    def __init__(self, settings: SpotterSettings, input_spec: InputSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        require_two(classes, "spotter")
        self.settings = settings
        levels, channels = len(PYRAMID_STRIDES), settings.pyramid_channels
        self.encoder = PyramidBackbone(settings.backbone, input_spec.only.tensor.shape[0])
        self.pyramid = FeaturePyramid(self.encoder.channels, channels)
        self.attention = PyramidAttention(levels, channels, settings.attention_reduction)
        self.width = levels * channels
        self.temporal = TemporalNetwork(
            self.width, settings.temporal_layers, settings.gru_width, settings.gru_layers, settings.dropout
        )

    def forward(
        self,
        views: Mapping[str, Tensor],
        lengths: Tensor | None = None,
        *,
        return_temporal: bool = False,
        return_attention: bool = False,
    ) -> Tensor | SpotterOutput | tuple[Tensor | SpotterOutput | Temporal | Attention, ...]:
        """Return the logits of clips.

        Args:
            views: one, float32, normalised: [N, C, S, S], the frames of B clips one after the other; or
                [B, T, C, S, S], clips padded at the end to T frames.
            lengths: int64 [B], frames of each clip, at least 1. None takes each picture of four dimensions for a clip
                of one, and each clip of five for one of T.
            return_temporal: return ``Temporal`` too, the frames of all clips one after the other.
            return_attention: return ``Attention`` too, likewise.

        Returns:
            Logits [B, 1] (in training ``SpotterOutput``); where more is asked for, a tuple that begins with them.
        """
        pixels, counts = _pack(only(views), lengths)
        levels, attention = self.levels(pixels)
        vectors = self.vectors(levels)
        with torch.autocast(vectors.device.type, enabled=False):
            padded = pad_clips(vectors.float(), counts)
            states, frame_logits = self.temporal(padded, counts)
            places = frame_mask(counts, padded.shape[1]).squeeze(2).to(states.device)
            logits = clip_mean(frame_logits, counts.to(states.device))
            result: Tensor | SpotterOutput = logits
            if self.training:
                result = SpotterOutput(logits, self._frame_logits(vectors.float(), logits, padded.shape[1]))
        more: list[Temporal | Attention] = []
        if return_temporal:
            more.append(Temporal(states[places], frame_logits[places]))
        if return_attention:
            more.append(attention)
        return (result, *more) if more else result

    def load_starting_weights(self) -> None:
        """Fill the encoder with what ``settings.weights`` names."""
        start(self.encoder, self.settings.weights, PUBLIC_BACKBONE)

    def frame_part(self) -> tuple[nn.Module, tuple[str, ...]]:
        """Return what gives each frame's logit as a clip of one, its vector, and the heatmap of that logit."""
        return _FramePart(self).eval(), ("logits", "vectors", "heatmap")

    def clip_part(self, frames: int) -> Part:
        """Return the network from the frames' vectors on."""
        inputs = {
            "vectors": TensorSpec(datatype="FP32", shape=(frames, self.width)),
            "lengths": TensorSpec(datatype="INT64"),
        }
        return Part(_ClipPart(self.temporal).eval(), inputs)

    def heatmaps(self, views: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Explain the logit of each picture as a clip of one.

        Args:
            views: one, float32 [B, C, S, S], normalised.

        Returns:
            ``multi`` at the finest scale (28 × 28 for 224 px), and the baseline ``single`` at the coarsest (7 × 7):
            [B, 1, h, w] in 0..1.
        """
        levels, _ = self.levels(only(views))
        maps = activation_maps(levels, frame_gradients(self.temporal, self.vectors(levels))[1])
        return {"multi": fuse(maps), "single": maps[-1]}

    def levels(self, pixels: Tensor) -> tuple[list[Tensor], Attention]:
        """Return the weighed levels of the pyramid [N, C, h, w], the finest first, and their attention."""
        weighed, attention = self.attention(self.pyramid(self.encoder(pixels)))
        return weighed, attention

    @staticmethod
    def vectors(levels: Sequence[Tensor]) -> Tensor:
        """Return the frames' vectors [N, width]: the means of the levels, one after the other."""
        return torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1)

    def _frame_logits(self, vectors: Tensor, logits: Tensor, longest: int) -> Tensor:
        if longest == 1:
            return logits
        single: Tensor = self.temporal(vectors.unsqueeze(1), torch.ones(len(vectors), dtype=torch.int64))[1]
        return single.squeeze(1)


def _pack(pixels: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the frames of all clips one after the other, and the lengths on the CPU, where padding reads them."""
    if pixels.ndim == 4:
        counts = torch.ones(len(pixels), dtype=torch.int64) if lengths is None else lengths.cpu()
        return pixels, counts
    clips, frames = pixels.shape[:2]
    counts = torch.full((clips,), frames, dtype=torch.int64) if lengths is None else lengths.cpu()
    return pixels[frame_mask(counts, frames).squeeze(2).to(pixels.device)], counts


class _FramePart(nn.Module):
    def __init__(self, network: Spotter) -> None:
        super().__init__()
        self.network = network

    def forward(self, views: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        levels, _ = self.network.levels(only(views))
        vectors = self.network.vectors(levels)
        logits, gradient = frame_gradients(self.network.temporal, vectors)
        return logits, vectors, fuse(activation_maps(levels, gradient))


class _ClipPart(nn.Module):
    def __init__(self, temporal: TemporalNetwork) -> None:
        super().__init__()
        self.temporal = temporal

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor]:
        _, logits = self.temporal(arrays["vectors"], arrays["lengths"])
        return (clip_mean(logits, arrays["lengths"]),)
