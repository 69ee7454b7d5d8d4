"""The loss of GenConViT: cross-entropy, the errors of both reconstructions, and the divergence of the latent."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.genconvit.network import GenConViTOutput
from models.genconvit.settings import GenConViTLossSettings
from models.network import only
from models.parallel import mean_over_processes


class GenConViTLoss(nn.Module):
    """w_c · (cross-entropy A + B) / 2 + w_a · MSE_A + w_v · (MSE_B + warm-up · w_kl · KL).

    * Cross-entropy is that of a sigmoid, the mean over the batch.
    * MSE is the mean over the batch of the squared difference of pixels in 0..1.
    * KL is the divergence of the latent from the standard normal distribution, -½ Σ (1 + log σ² - μ² - σ²) over the
      latent of a sample (Kingma and Welling, 2014, appendix B), divided by the number of values of its picture so that
      it has the scale of the MSE and does not grow with the input's size; the mean over the batch.
    * The warm-up is batches / ``kl_warmup_batches``, at most 1.

    Everything is computed in float32, also under autocast; the batch is that of all processes together.

    Args:
        settings: the weights.

    Shape:
        - output: ``GenConViTOutput``.
        - batch["views"]: one, pixels 0..255, any type, [B, 3, S, S]; batch["label"]: 0 or 1, [B].
        - Output: float32 scalars ``loss``, ``cross_entropy_a``, ``cross_entropy_b``, ``mse_a``, ``mse_b``, ``kl``,
          ``kl_warmup``.
    """

    def __init__(self, settings: GenConViTLossSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, output: GenConViTOutput, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and its terms."""
        weights = self.settings
        with torch.autocast(output.mu.device.type, enabled=False):
            label = batch["label"].float().unsqueeze(1)
            pixels = only(batch["views"]).float() / 255
            sums = {
                "cross_entropy_a": self._cross_entropy(output.logits_a, label),
                "cross_entropy_b": self._cross_entropy(output.logits_b, label),
                "mse_a": functional.mse_loss(output.reconstruction_a.float(), pixels, reduction="sum"),
                "mse_b": functional.mse_loss(output.reconstruction_b.float(), pixels, reduction="sum"),
                "kl": _divergence(output.mu.float(), output.log_variance.float()),
            }
            parts = [(value, len(label) if "entropy" in name else pixels.numel()) for name, value in sums.items()]
            terms = dict(zip(sums, mean_over_processes(parts), strict=True))
            terms["kl_warmup"] = (output.batches / max(weights.kl_warmup_batches, 1)).float().clamp(max=1)
            cross_entropy = (terms["cross_entropy_a"] + terms["cross_entropy_b"]) / 2
            vae = terms["mse_b"] + terms["kl_warmup"] * weights.kl_weight * terms["kl"]
            loss = weights.cross_entropy_weight * cross_entropy
            loss = loss + weights.autoencoder_weight * terms["mse_a"] + weights.vae_weight * vae
        return {"loss": loss, **terms}

    @staticmethod
    def _cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits.float(), label, reduction="sum")


def _divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum()
