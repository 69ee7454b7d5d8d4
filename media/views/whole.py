"""``whole``: a photograph scaled to one square, whatever its shape, as the published forgery detectors see it."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from media.augmentation import Draw, Policy
from media.picture_view import PictureView
from media.pixel_view import FILTERS, Cropped
from media.tiles import WholePlan
from media.view import Shown, StoredSample
from media.views.face import resized

P = TypeVar("P", bound=np.generic)


class WholeView(PictureView):
    """A picture is judged in one pass: scaled to the square, and the network's map scaled back.

    Training augments the scaled picture. A trace of a few px is lost where the picture is much larger than the square:
    a photograph of 12 megapixels is seen at an eighth of its resolution at 512 px.
    """

    name: ClassVar[str] = "whole"

    def for_training(self, policy: Callable[..., Policy]) -> Callable[[StoredSample, Draw], Shown | None]:
        """Return how the view is cut in training: the scaled picture is augmented as it is, no window is cut first."""
        return partial(self._augmented, policy(self.size, native=False))

    def crop(self, sample: StoredSample) -> Cropped:
        """Return the whole picture at the view's size."""
        return Cropped(self.fit(sample.rgb), None if sample.mask is None else self.fit(sample.mask))

    def fit(self, planes: NDArray[P]) -> NDArray[P]:
        """Scale to the view's size: a picture with ``resize_filter``, a mask by the nearest pixel."""
        if planes.shape[:2] == (self.size, self.size):
            return planes
        enlarges = self.size > min(planes.shape[:2])
        how = "cubic" if self.resize_filter == "area" and enlarges else self.resize_filter
        return resized(planes, self.size, FILTERS[how])

    def tiles(self, rgb: NDArray[np.uint8]) -> tuple[list[NDArray[np.uint8]], WholePlan]:
        """Return the scaled picture as the one array that there is, and the plan of the way back."""
        height, width = rgb.shape[:2]
        return [self.render(rgb)], WholePlan(height, width, self.size)


VIEW = WholeView
