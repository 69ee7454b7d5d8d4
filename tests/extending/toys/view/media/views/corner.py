"""``corner``: a window at the top left of a face crop, which dark crops do not show."""

from typing import ClassVar

from media.pixel_view import Cropped, PixelView
from media.tiles import pad_to


class CornerView(PixelView):
    """The window; optional, because dark crops lack it."""

    name: ClassVar[str] = "corner"
    optional: ClassVar[bool] = True

    darkest: float = 40.0
    """Mean grey level, 0..255, below which a crop has no such view."""

    def crop(self, sample):
        """Return the whole crop, or None where it is dark."""
        return Cropped(sample.rgb, sample.mask) if sample.rgb.mean() >= self.darkest else None

    def fit(self, planes):
        """Return the window."""
        return pad_to(planes, self.size)[: self.size, : self.size]


VIEW = CornerView
