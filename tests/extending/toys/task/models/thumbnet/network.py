"""Network and loss of the family ``thumbnet``."""

from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from models.network import Network, only


class ThumbNet(Network):
    """A linear function of the mean colour."""

    def __init__(self, settings, input_spec, classes):
        super().__init__()
        self.head = nn.Linear(input_spec.only.channels, 1)

    def forward(self, views, lengths=None):
        """Return logits [N, 1]."""
        return self.head(only(views).mean(dim=(2, 3)))


class ThumbLoss(nn.Module):
    """Cross-entropy."""

    def __init__(self, settings):
        super().__init__()

    def forward(self, output, batch):
        """Return the loss."""
        return {"loss": binary_cross_entropy_with_logits(output.float().squeeze(1), batch["label"].float())}
