"""``spectrum``: how strong each frequency is in the rows of a crop; no pixels, so no augmentation of them either."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from media.tensors import TensorSpec
from media.view import Affine, View


class SpectrumView(View):
    """The mean spectrum of the rows, as logarithms; crops that are narrower than twice the bins lack it."""

    name: ClassVar[str] = "spectrum"
    optional: ClassVar[bool] = True

    bins: int = Field(default=16, ge=1)
    """Frequencies, from the lowest."""

    @property
    def tensor(self):
        """The array of one sample: float32 [bins]."""
        return TensorSpec(datatype="FP32", shape=(self.bins,))

    @property
    def normalization(self):
        """Logarithms of sums of bytes are brought to about 0..1."""
        return Affine((0.1,) * self.bins, (0.0,) * self.bins)

    def cut(self, sample):
        """Return the spectrum."""
        if sample.rgb.shape[1] < 2 * self.bins:
            return None
        strength = np.abs(np.fft.rfft(sample.rgb.mean(axis=2), axis=1)).mean(axis=0)
        return np.log1p(strength[: self.bins]).astype(np.float32)


VIEW = SpectrumView
