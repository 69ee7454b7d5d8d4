"""Network and loss of the family ``pair``."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from models.network import Network


class Pair(Network):
    """Mean colours of both views, the corner's only where it is there."""

    def __init__(self, settings, input_spec, classes):
        super().__init__()
        self.head = nn.Linear(6, 1)

    def forward(self, views, lengths=None):
        """Return logits [N, 1]."""
        there = views["corner_present"].float().unsqueeze(1)
        means = [views["face"].mean(dim=(2, 3)), views["corner"].mean(dim=(2, 3)) * there]
        return self.head(torch.cat(means, dim=1))


class PairLoss(nn.Module):
    """Cross-entropy."""

    def __init__(self, settings):
        super().__init__()

    def forward(self, output, batch):
        """Return the loss."""
        return {"loss": binary_cross_entropy_with_logits(output.float().squeeze(1), batch["label"].float())}
