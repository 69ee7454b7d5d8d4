"""Name, type and shape of the arrays that go into networks and come out of them."""

from typing import Any, Literal

import numpy as np

from core.settings import Settings

# In the words of the Open Inference Protocol.
DATATYPES: dict[str, type[np.generic]] = {
    "UINT8": np.uint8,
    "INT64": np.int64,
    "FP32": np.float32,
    "BOOL": np.bool_,
}


class TensorSpec(Settings):
    """An array of a batch, without its first axis, the batch."""

    datatype: Literal["UINT8", "INT64", "FP32", "BOOL"]
    """Type of its values."""
    shape: tuple[int, ...] = ()
    """Of one item; -1 is any size."""

    @property
    def dtype(self) -> type[np.generic]:
        """NumPy's type of the values."""
        return DATATYPES[self.datatype]

    def example(self, batch: int) -> "np.ndarray[Any, Any]":
        """Return a batch of zeros."""
        return np.zeros((batch, *self.shape), dtype=self.dtype)
