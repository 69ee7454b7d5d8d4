"""Cutting a face out of a frame as it is stored."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from media.extraction import FaceSpec
from media.faces.detector import Face
from media.squares import Box, Square, square_of

GRID = 16  # px; the largest block of common video codecs (macroblocks of H.264)
# Parts of a px that coordinates are rounded to: in float32, as an index stores them, they are then exact whichever crop
# they are counted from (in frames of up to 16,384 px), and a server cuts the views that training cut.
STEPS = 1024


@dataclass(frozen=True)
class CutFace:
    """A face as it is stored.

    Attributes:
        rgb: uint8 [S, S, 3], at the frame's resolution unless ``FaceSpec.max_side`` bounds it.
        box: of the face without margin, x0, y0, x1, y1 in px of ``rgb``.
        landmarks: float32 [5, 2], in px of ``rgb``.
        crop: where ``rgb`` lies on the frame, x0, y0, x1, y1 in px; may reach over its edges.
        grid: origin of ``rgb`` on the frame modulo ``GRID``, x and y; None where it was scaled.
    """

    rgb: NDArray[np.uint8]
    box: Box
    landmarks: NDArray[np.float32]
    crop: Box
    grid: tuple[int, int] | None


def cut_face(rgb: NDArray[np.uint8], face: Face, spec: FaceSpec) -> CutFace:
    """Cut the square around a face, straight and at the frame's resolution up to a bound.

    What lies outside the frame repeats its edge.

    Args:
        rgb: uint8 [H, W, 3]; the frame.
        face: where it is.
        spec: margin and the bound.
    """
    points = np.rint(np.concatenate([np.reshape(face.box, (2, 2)), face.landmarks]) * STEPS) / STEPS
    square = _bounded(square_of(_box(points), spec.margin), 2 * max(rgb.shape[:2]))
    pixels, scale = square.take(rgb), min(1.0, spec.max_side / square.side)
    if scale < 1:
        size = (spec.max_side, spec.max_side)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    inside = ((points - (square.left, square.top)) * scale).astype(np.float32)
    left, top = float(square.left), float(square.top)
    return CutFace(
        rgb=pixels,
        box=_box(inside),
        landmarks=inside[2:],
        crop=(left, top, left + square.side, top + square.side),
        grid=(square.left % GRID, square.top % GRID) if scale == 1 else None,
    )


def _box(points: NDArray[np.floating]) -> Box:
    x0, y0, x1, y1 = points[:2].ravel().tolist()
    return x0, y0, x1, y1


def _bounded(square: Square, longest: int) -> Square:
    """Return a square of the same middle that is no larger: one that covers the frame holds all there is of it."""
    if square.side <= longest:
        return square
    cut = (square.side - longest) // 2
    return Square(square.left + cut, square.top + cut, longest)
