"""The loss of Spotter: cross-entropy of clips, and of their frames."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.parallel import mean_over_processes
from models.spotter.network import SpotterOutput
from models.spotter.settings import SpotterLossSettings


class SpotterLoss(nn.Module):
    """clip_weight · cross-entropy of the clips + frame_weight · cross-entropy of the frames, each a clip of its own.

    A frame has the label of its clip. Both terms are means, in float32 also under autocast: over the clips and the
    frames of all processes, so that a frame counts the same wherever its clip is.

    Args:
        settings: the weights.

    Shape:
        - output: ``SpotterOutput``.
        - batch["label"]: 0 or 1, [B]; batch["lengths"]: int64 [B], absent where every clip is a single picture.
        - Output: float32 scalars ``loss``, ``clip``, ``frame``.
    """

    def __init__(self, settings: SpotterLossSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, output: SpotterOutput, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and its terms."""
        label = batch["label"].float().unsqueeze(1)
        frame_label = label
        if "lengths" in batch:
            frame_label = label.repeat_interleave(batch["lengths"], dim=0, output_size=len(output.frame_logits))
        with torch.autocast(output.logits.device.type, enabled=False):
            parts = [
                (functional.binary_cross_entropy_with_logits(logits, target, reduction="sum"), len(target))
                for logits, target in ((output.logits, label), (output.frame_logits, frame_label))
            ]
            clip, frame = mean_over_processes(parts)
            loss = self.settings.clip_weight * clip + self.settings.frame_weight * frame
        return {"loss": loss, "clip": clip, "frame": frame}
