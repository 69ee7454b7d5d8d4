"""The loss of the forgery family: focal + Dice + the probability put on authentic images."""

from collections.abc import Mapping
from typing import Any

import torch
from segmentation_models_pytorch.losses import FocalLoss
from torch import Tensor, nn

from models.forgery.settings import ForgeryLossSettings
from models.parallel import sum_over_processes

SMOOTH = 1.0  # added to numerator and denominator of the Dice term, as published


class ForgeryLoss(nn.Module):
    """focal_weight · focal + dice_weight · dice + authentic_weight · authentic, with p = sigmoid(logit).

    * ``focal``: the mean over all pixels of alpha_t · (1 - p_t)^gamma · (-log p_t), where p_t is the probability of the
      pixel's true class. alpha_t is ``focal_alpha`` on forged pixels; on others the same as published, or
      1 - ``focal_alpha`` (Lin et al., 2017), by ``focal_form``.
    * ``dice``: 1 - (2I + 1) / (2I + 2(1 - beta)F + 2 beta M + 1), the sums running over the whole batch: I of p on
      forged pixels, F of p on the others, M of 1 - p on forged pixels (Tversky; Salehi et al., 2017). With beta = 0.5
      the denominator is (sum of p) + (sum of target) + 1: the published Dice. segmentation_models_pytorch's DiceLoss
      differs: it is zero where the target is empty.
    * ``authentic``: the sum of p over the pixels of authentic images, divided by the pixels of all images as published,
      or by those of authentic ones, by ``authentic_mean``. An image counts as authentic when its mask *in the batch* is
      empty, so a crop of a forged picture that holds no forged pixel does too: its content is authentic.

    Without an authentic image ``authentic`` is 0; without a forged pixel ``dice`` is P / (P + 1) at beta = 0.5, P being
    the sum of p. Everything is computed in float32, also under autocast: a sum over a batch overflows half precision.

    The batch is that of all processes together: every process computes the same loss. With ``accumulate`` it is that of
    one forward pass: the Dice term and the mean over authentic pixels are then means of ratios of smaller batches.

    Args:
        settings: weights and shapes of the terms.

    Shape:
        - output: logits, floating [B, 1, H, W].
        - batch["mask"]: 0 or 1, any type, the same shape.
        - Output: float32 scalars ``loss``, ``focal``, ``dice``, ``authentic``; the terms are before weighting.
    """

    def __init__(self, settings: ForgeryLossSettings) -> None:
        super().__init__()
        self.settings = settings
        alpha = settings.focal_alpha if settings.focal_form == "paper" else None
        self.focal = FocalLoss(mode="binary", alpha=alpha, gamma=settings.focal_gamma, reduction="sum")

    def forward(self, output: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and its terms."""
        settings = self.settings
        with torch.autocast(output.device.type, enabled=False):
            logits = output.float()
            target = batch["mask"].to(logits)
            probability = torch.sigmoid(logits)
            # Weighted sums instead of selections: no wait for the device.
            authentic = (target.flatten(1).sum(dim=1) == 0).to(probability)
            sums = [
                self.focal(logits, target),
                (probability * target).sum(),
                probability.sum(),
                target.sum(),
                (probability.flatten(1).sum(dim=1) * authentic).sum(),
                authentic.sum() * target[0].numel(),
                target.new_tensor(float(target.numel())),
            ]
            focal, hit, marked, forged, false, authentic_pixels, pixels = sum_over_processes(torch.stack(sums)).unbind()
            focal = focal / pixels * (settings.focal_alpha if settings.focal_form == "published" else 1)
            dice = self._dice(hit, marked - hit, forged - hit)
            over = pixels if settings.authentic_mean == "batch" else authentic_pixels.clamp_min(1)
            terms = {"focal": focal, "dice": dice, "authentic": false / over}
            loss = settings.focal_weight * focal + settings.dice_weight * dice
            loss = loss + settings.authentic_weight * terms["authentic"]
        return {"loss": loss, **terms}

    def _dice(self, hit: Tensor, false: Tensor, missed: Tensor) -> Tensor:
        beta = self.settings.tversky_beta
        return 1 - (2 * hit + SMOOTH) / (2 * hit + 2 * (1 - beta) * false + 2 * beta * missed + SMOOTH)
