"""From stored pixels to a network's input, on the device: the same module trains, judges and is exported."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from media.spec import InputSpec


class Normalize(nn.Module):
    """Scales pixels to 0..1 and normalises them channel by channel: (x / 255 - mean) / std.

    The planes of an error level analysis use the mean and deviation of their colours, so that a backbone trained on
    pictures sees them in the range it knows. Mean and deviation are buffers outside the state: they belong to the
    input specification, and a checkpoint must not carry a second copy.

    Args:
        mean: per colour, for pixels scaled to 0..1.
        std: per colour, for pixels scaled to 0..1.
        ela: whether the planes of an error level analysis follow the colours, doubling the channels.

    Shape:
        - Input: [..., C, H, W], uint8 or floating, 0..255; C = 3, or 6 with ``ela``.
        - Output: the same shape, float32, also under autocast.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], ela: bool = False) -> None:
        super().__init__()
        repeats = 2 if ela else 1
        means = torch.tensor(list(mean) * repeats, dtype=torch.float64)
        stds = torch.tensor(list(std) * repeats, dtype=torch.float64)
        # One multiplication and one addition a pixel instead of a division, a subtraction and a division.
        self.register_buffer("scale", (1 / (255 * stds)).float().reshape(-1, 1, 1), persistent=False)
        self.register_buffer("shift", (-means / stds).float().reshape(-1, 1, 1), persistent=False)

    @classmethod
    def from_spec(cls, spec: InputSpec) -> "Normalize":
        """Return the normalisation that ``spec`` describes."""
        return cls(spec.mean, spec.std, ela=spec.ela is not None)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise ``pixels``."""
        return pixels.to(torch.float32) * self.scale + self.shift
