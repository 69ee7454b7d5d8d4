"""``thumb``: a whole picture scaled to a small square."""

from typing import ClassVar

import cv2
import numpy as np

from media.pixel_view import FILTERS, Cropped, PixelView


class ThumbView(PixelView):
    """The thumbnail."""

    name: ClassVar[str] = "thumb"

    def crop(self, sample):
        """Return the whole picture."""
        return Cropped(sample.rgb, sample.mask)

    def fit(self, planes):
        """Scale it."""
        return np.asarray(cv2.resize(planes, (self.size, self.size), interpolation=FILTERS[self.resize_filter]))


VIEW = ThumbView
