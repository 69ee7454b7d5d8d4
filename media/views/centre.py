"""``centre``: a window in the middle of a face at one fixed scale, so that no finer trace is scaled away."""

from typing import ClassVar, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from media.pixel_view import Cropped
from media.tiles import pad_to
from media.view import StoredSample
from media.views.face import FaceView, resized, scaled_heat

P = TypeVar("P", bound=np.generic)


class CentreView(FaceView):
    """The square around the face, brought to ``square_size`` px where it has another size, and of that a window.

    Crops that already have that size are seen at their own resolution. What is smaller than the window is extended by
    reflection.
    """

    name: ClassVar[str] = "centre"

    square_size: int = Field(default=256, ge=32, le=4096)
    """Side in px of the square that the window is taken from; the window is ``size``."""

    def crop(self, sample: StoredSample) -> Cropped:
        """Return the square around the face, ``square_size`` px wide; a crop that others cut stays as it is."""
        whole = super().crop(sample)
        side = whole.rgb.shape[0]
        if sample.subject is None or side == self.square_size:
            return whole
        how = cv2.INTER_AREA if side > self.square_size else cv2.INTER_CUBIC
        mask = None if whole.mask is None else resized(whole.mask, self.square_size, how)
        return Cropped(resized(whole.rgb, self.square_size, how), mask)

    def fit(self, planes: NDArray[P]) -> NDArray[P]:
        """Return the window in the middle; what is smaller is extended at the bottom and right."""
        planes = pad_to(planes, self.size)
        top, left = ((side - self.size) // 2 for side in planes.shape[:2])
        return planes[top : top + self.size, left : left + self.size]

    def lay(self, heat: NDArray[np.float32], sample: StoredSample) -> NDArray[np.float32]:
        """Bring a network's map of this view back to the stored crop."""
        square = self.square(sample)
        shape = sample.rgb.shape[:2] if square is None else (self.square_size, self.square_size)
        window = scaled_heat(heat, self.size, self.size)
        laid = np.zeros(shape, dtype=np.float32)
        # A crop that is smaller than the window was extended at the bottom and right.
        top, left = ((max(side, self.size) - self.size) // 2 for side in shape)
        laid[top : top + self.size, left : left + self.size] = window[: shape[0], : shape[1]]
        if square is None:
            return laid
        height, width = sample.rgb.shape[:2]
        return square.lay(scaled_heat(laid, square.side, square.side), (height, width))


VIEW = CentreView
