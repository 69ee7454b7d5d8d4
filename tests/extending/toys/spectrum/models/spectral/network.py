"""Network and loss of the family ``spectral``."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from models.network import Network


class Spectral(Network):
    """A linear function of the face's mean colours and of the spectrum, where that is there."""

    def __init__(self, settings, input_spec, classes):
        super().__init__()
        (bins,) = input_spec.views["spectrum"].tensor.shape
        self.head = nn.Linear(3 + bins, 1)

    def forward(self, views, lengths=None):
        """Return logits [N, 1]."""
        spectrum = views["spectrum"] * views["spectrum_present"].float().unsqueeze(1)
        return self.head(torch.cat([views["face"].mean(dim=(2, 3)), spectrum], dim=1))


class SpectralLoss(nn.Module):
    """Cross-entropy."""

    def __init__(self, settings):
        super().__init__()

    def forward(self, output, batch):
        """Return the loss."""
        return {"loss": binary_cross_entropy_with_logits(output.float().squeeze(1), batch["label"].float())}
