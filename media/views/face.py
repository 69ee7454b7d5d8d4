"""``face``: the square around a face, scaled to a network's input."""

from typing import ClassVar, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from media.extraction import ExtractionSpec
from media.pixel_view import FILTERS, Cropped, PixelView
from media.squares import Square, square_of
from media.view import StoredSample

P = TypeVar("P", bound=np.generic)

TURNED = 2**0.5  # a square that is turned by any angle lies inside of one so much wider
MARGIN_TOLERANCE = 1e-6


class FaceView(PixelView):
    """A square of ``margin`` times the longer side of the face's box, scaled to ``size``.

    Of a crop that others cut nothing is known but its margin: all of it is shown.
    """

    name: ClassVar[str] = "face"

    margin: float = Field(default=1.3, ge=1, le=4)
    """Side of the square / longer side of the face's box."""
    alignment: Literal["none", "landmarks5"] = "none"
    """Whether the square is turned so that the eyes lie level, by the five landmarks."""

    def reach(self) -> float:
        """Return how wide a stored face crop must be."""
        return self.margin * (TURNED if self.alignment == "landmarks5" else 1.0)

    def require(self, extraction: ExtractionSpec) -> str:
        """Say why samples that were extracted so cannot show this view; "" where they can."""
        faces, given = extraction.faces, extraction.of_pictures
        if faces is None:
            return f"the view {self.name} is of faces, and the data set holds whole pictures"
        if given and self.alignment != "none":
            return f"views.{self.name}.alignment turns by landmarks, which crops that were cut by others lack"
        if given and abs(faces.margin - self.margin) > MARGIN_TOLERANCE:
            return (
                f"views.{self.name}.margin = {self.margin:g}, but the data set's crops were cut with {faces.margin:g}"
            )
        if not given and faces.margin < self.reach() - MARGIN_TOLERANCE:
            return (
                f"views.{self.name} needs crops of margin {self.reach():g}, the data set's have {faces.margin:g}: "
                "extract with faces.margin at least that"
            )
        return ""

    def square(self, sample: StoredSample) -> Square | None:
        """Return where the view lies in a stored crop; None where it is all of it."""
        if sample.subject is None:
            return None
        return square_of(
            sample.subject.box, self.margin, sample.subject.landmarks if self.alignment != "none" else None
        )

    def crop(self, sample: StoredSample) -> Cropped:
        """Return the square around the face, at the stored resolution."""
        square = self.square(sample)
        if square is None:
            return Cropped(sample.rgb, sample.mask)
        mask = None if sample.mask is None else square.take(sample.mask.view(np.uint8)).astype(np.bool_)
        return Cropped(square.take(sample.rgb), mask)

    def fit(self, planes: NDArray[P]) -> NDArray[P]:
        """Scale to the view's size: a picture with ``resize_filter``, a mask by the nearest pixel."""
        if planes.shape[:2] == (self.size, self.size):
            return planes
        enlarges = self.size > planes.shape[0]
        how = "cubic" if self.resize_filter == "area" and enlarges else self.resize_filter
        return resized(planes, self.size, FILTERS[how])

    def lay(self, heat: NDArray[np.float32], sample: StoredSample) -> NDArray[np.float32]:
        """Bring a network's map of this view back to the stored crop."""
        height, width = sample.rgb.shape[:2]
        square = self.square(sample)
        if square is None:
            return scaled_heat(heat, height, width)
        return square.lay(scaled_heat(heat, square.side, square.side), (height, width))


def resized(planes: NDArray[P], side: int, interpolation: int) -> NDArray[P]:
    """Scale a picture uint8 [h, w, 3] as ``interpolation`` says, or a mask bool [h, w] by the nearest pixel."""
    # NEAREST_EXACT takes the pixel nearest to the centre, as linear interpolation does; NEAREST is off by half one.
    how = interpolation if planes.ndim == 3 else cv2.INTER_NEAREST_EXACT
    scaled = cv2.resize(planes.view(np.uint8), (side, side), interpolation=how)
    return np.asarray(scaled).astype(planes.dtype, copy=False)


def scaled_heat(heat: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale a map linearly to [height, width], values in 0..1."""
    scaled = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.asarray(scaled, dtype=np.float32), 0, 1)


VIEW = FaceView
