"""From stored pixels to a network's input, on the device: the same module trains, evaluates and is exported."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from media.spec import InputSpec
from media.view import View


class Normalize(nn.Module):
    """Scales the pixels of every view to 0..1 and normalises them channel by channel: (x / 255 - mean) / std.

    The planes of an error level analysis use the mean and deviation of their colours, so that a backbone trained on
    pictures sees them in the range it knows. Mean and deviation are buffers outside the state: they belong to the
    input specification, and a checkpoint must not carry a second copy.

    Args:
        input_spec: mean, deviation and error levels of each view.

    Shape:
        - Input: arrays by name; views of pixels [..., C, H, W], uint8 or floating, 0..255, C = 3, or 6 with error
          levels.
        - Output: the same names and shapes; pixels float32, also under autocast. Arrays that are no view of pixels,
          such as presence masks, are passed on as they are.
    """

    def __init__(self, input_spec: InputSpec) -> None:
        super().__init__()
        pixels = {name: view for name, view in input_spec.views.items() if view.tensor.datatype == "UINT8"}
        self.views = nn.ModuleDict({name: _NormalizeView(view) for name, view in pixels.items()})

    def forward(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalise the views of pixels in ``arrays``."""
        return {name: self.views[name](array) if name in self.views else array for name, array in arrays.items()}


class _NormalizeView(nn.Module):
    scale: Tensor
    shift: Tensor

    def __init__(self, view: View) -> None:
        super().__init__()
        repeats = view.channels // len(view.mean)
        means = torch.tensor(view.mean * repeats, dtype=torch.float64)
        stds = torch.tensor(view.std * repeats, dtype=torch.float64)
        # One multiplication and one addition a pixel instead of a division, a subtraction and a division.
        self.register_buffer("scale", (1 / (255 * stds)).float().reshape(-1, 1, 1), persistent=False)
        self.register_buffer("shift", (-means / stds).float().reshape(-1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32) * self.scale + self.shift
