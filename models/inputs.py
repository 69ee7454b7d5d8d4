"""From the arrays of views to a network's input, on the device: the same module trains, evaluates and is exported."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from media.spec import InputSpec
from media.view import Affine


class Normalize(nn.Module):
    """Brings every view to the network's range, as ``View.normalization`` says.

    Scales and shifts are buffers outside the state: they belong to the input specification, and a checkpoint must not
    carry a second copy.

    Args:
        input_spec: what the network reads.

    Shape:
        - Input: arrays by name; views of pixels [..., C, H, W], uint8 or floating, 0..255.
        - Output: the same names and shapes; float32 where a view is normalised, also under autocast. Other arrays, such
          as presence masks, are passed on as they are.
    """

    def __init__(self, input_spec: InputSpec) -> None:
        super().__init__()
        self.views = nn.ModuleDict(
            {
                name: _NormalizeView(view.normalization, len(view.tensor.shape))
                for name, view in input_spec.views.items()
                if view.normalization is not None
            }
        )

    def forward(self, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalise the views in ``arrays``."""
        return {name: self.views[name](array) if name in self.views else array for name, array in arrays.items()}


class _NormalizeView(nn.Module):
    scale: Tensor
    shift: Tensor

    def __init__(self, affine: Affine, axes: int) -> None:
        super().__init__()
        shape = (-1, *[1] * (axes - 1))
        self.register_buffer("scale", torch.tensor(affine.scale).reshape(shape), persistent=False)
        self.register_buffer("shift", torch.tensor(affine.shift).reshape(shape), persistent=False)

    def forward(self, array: Tensor) -> Tensor:
        return array.to(torch.float32) * self.scale + self.shift
