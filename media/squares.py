"""Squares in pictures: where one lies around a face, taking its pixels, and putting a map of it back."""

from dataclasses import dataclass
from math import floor
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

P = TypeVar("P", bound=np.generic)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Square:
    """A square in a picture, in px: its left and top edge, its side, and the angle it is turned by, in degrees."""

    left: int
    top: int
    side: int
    angle: float = 0.0

    @property
    def turn(self) -> NDArray[np.float64]:
        """The affine map from the picture to the square, float64 [2, 3]."""
        # Pixel centres lie at whole coordinates, the middle of a square of an even side between two of them.
        middle = (self.side - 1) / 2
        centre = (self.left + middle, self.top + middle)
        turn = np.asarray(cv2.getRotationMatrix2D(centre, self.angle, 1.0), dtype=np.float64)
        turn[:, 2] += middle - np.array(centre)
        return turn

    def take(self, picture: NDArray[P]) -> NDArray[P]:
        """Return the pixels [side, side, ...], a copy; what lies outside the picture repeats its edge."""
        if self.angle:
            size = (self.side, self.side)
            pixels: Any = picture
            turned = cv2.warpAffine(pixels, self.turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            return np.asarray(turned, dtype=picture.dtype)
        if 0 <= self.top <= picture.shape[0] - self.side and 0 <= self.left <= picture.shape[1] - self.side:
            return picture[self.top : self.top + self.side, self.left : self.left + self.side].copy()
        rows = _line(self.top, self.side, picture.shape[0])
        columns = _line(self.left, self.side, picture.shape[1])
        return np.ascontiguousarray(picture[rows[:, None], columns])

    def lay(self, values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Put a map of the square, float32 [side, side], where it belongs in a picture of ``shape``; zero elsewhere."""
        if self.angle:
            height, width = shape
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            return np.asarray(cv2.warpAffine(values, self.turn, (width, height), flags=flags), dtype=np.float32)
        laid = np.zeros(shape, dtype=np.float32)
        rows, columns = (
            slice(min(length, max(0, start)), max(0, min(length, start + self.side)))
            for start, length in ((self.top, shape[0]), (self.left, shape[1]))
        )
        laid[rows, columns] = values[
            rows.start - self.top : rows.stop - self.top, columns.start - self.left : columns.stop - self.left
        ]
        return laid


def _line(start: int, side: int, length: int) -> NDArray[np.int64]:
    return np.clip(np.arange(start, start + side), 0, length - 1)


def square_of(box: Box, margin: float, landmarks: NDArray[np.float32] | None = None) -> Square:
    """Return the square around a face.

    A box that is moved by whole pixels has its square moved by as many, so that a view is the same whichever crop it
    is cut from.

    Args:
        box: of the face, x0, y0, x1, y1 in px.
        margin: side of the square / longer side of the box.
        landmarks: float32 [5, 2]; where given, the square is turned so that the line through both eyes lies level.
    """
    x0, y0, x1, y1 = box
    side = max(1, _nearest(max(x1 - x0, y1 - y0) * margin))
    left, top = _nearest((x0 + x1) / 2 - side / 2), _nearest((y0 + y1) / 2 - side / 2)
    if landmarks is None:
        return Square(left, top, side)
    right_eye, left_eye = landmarks[0], landmarks[1]  # the person's right eye lies to the left
    angle = float(np.degrees(np.arctan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])))
    return Square(left, top, side, angle)


def _nearest(value: float) -> int:
    """Round halves up, wherever they lie; ``round`` takes them to even numbers."""
    return floor(value + 0.5)
