"""GenConViT as it is exported."""

from torch import Tensor, nn


class FrameNetwork(nn.Module):
    """The whole network with its logits as a tuple, as every family's frame network gives them.

    Args:
        network: GenConViT in evaluation mode.

    Shape:
        - Input: float32 [B, 3, S, S] in 0..1.
        - Output: a tuple of the logits [B, 1].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        """Return the logits of ``pixels``."""
        return (self.network(pixels),)
