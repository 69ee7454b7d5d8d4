"""Network and loss of the family ``dot``."""

from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from models.network import Network, only


class Dot(Network):
    """Two convolutions of one pixel."""

    def __init__(self, settings, input_spec, classes):
        super().__init__()
        channels = input_spec.only.channels
        self.layers = nn.Sequential(nn.Conv2d(channels, settings.width, 1), nn.ReLU(), nn.Conv2d(settings.width, 1, 1))

    def forward(self, views, lengths=None):
        """Return logits [B, 1, S, S]."""
        return self.layers(only(views))


class DotLoss(nn.Module):
    """Cross-entropy of pixels."""

    def __init__(self, settings):
        super().__init__()

    def forward(self, output, batch):
        """Return the loss."""
        return {"loss": binary_cross_entropy_with_logits(output.float(), batch["mask"].float())}
