"""The loss of the forgery family: focal + Dice + the probability put on authentic images."""

from collections.abc import Mapping
from typing import Any

import torch
from segmentation_models_pytorch.losses import FocalLoss
from torch import Tensor, nn

from models.forgery.settings import ForgeryLossSettings

SMOOTH = 1.0  # added to numerator and denominator of the Dice term, as published


class ForgeryLoss(nn.Module):
    """focal_weight · focal + dice_weight · dice + authentic_weight · authentic, with p = sigmoid(logit).

    * ``focal``: the mean over all pixels of alpha_t · (1 - p_t)^gamma · (-log p_t) (Lin et al., 2017), where p_t is the
      probability of the pixel's true class and alpha_t is ``focal_alpha`` on forged pixels, 1 - ``focal_alpha`` on
      others.
    * ``dice``: 1 - (2I + 1) / (2I + 2(1 - beta)F + 2 beta M + 1), the sums running over the whole batch: I of p on
      forged pixels, F of p on the others, M of 1 - p on forged pixels (Tversky; Salehi et al., 2017). With beta = 0.5
      the denominator is (sum of p) + (sum of target) + 1: the published Dice. segmentation_models_pytorch's DiceLoss
      differs: it is zero where the target is empty.
    * ``authentic``: the mean of p over the pixels of authentic images. An image counts as authentic when its mask *in
      the batch* is empty, so a crop of a forged picture that holds no forged pixel does too: its content is authentic.

    Without an authentic image ``authentic`` is 0; without a forged pixel ``dice`` is P / (P + 1) at beta = 0.5, P being
    the sum of p. Everything is computed in float32, also under autocast: a sum over a batch overflows half precision.

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
        self.focal = FocalLoss(mode="binary", alpha=settings.focal_alpha, gamma=settings.focal_gamma)

    def forward(self, output: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and its terms."""
        settings = self.settings
        with torch.autocast(output.device.type, enabled=False):
            logits = output.float()
            target = batch["mask"].to(logits)
            probability = torch.sigmoid(logits)
            focal = self.focal(logits, target)
            dice = self._dice(probability, target)
            authentic = _authentic(probability, target)
            loss = settings.focal_weight * focal + settings.dice_weight * dice + settings.authentic_weight * authentic
        return {"loss": loss, "focal": focal, "dice": dice, "authentic": authentic}

    def _dice(self, probability: Tensor, target: Tensor) -> Tensor:
        beta = self.settings.tversky_beta
        hit = (probability * target).sum()
        false = probability.sum() - hit
        missed = target.sum() - hit
        return 1 - (2 * hit + SMOOTH) / (2 * hit + 2 * (1 - beta) * false + 2 * beta * missed + SMOOTH)


def _authentic(probability: Tensor, target: Tensor) -> Tensor:
    # Weighted means instead of a selection: no wait for the device, and nothing to divide by zero.
    authentic = (target.flatten(1).sum(dim=1) == 0).to(probability)
    return (probability.flatten(1).mean(dim=1) * authentic).sum() / authentic.sum().clamp_min(1)
