"""Cutting a face out of a frame."""

import cv2
import numpy as np
from numpy.typing import NDArray

from media.faces.detector import Face
from media.spec import FaceSpec


def cut(rgb: NDArray[np.uint8], face: Face, spec: FaceSpec) -> NDArray[np.uint8]:
    """Cut the square around a face and scale it to ``spec.size``.

    Its side is ``spec.margin`` times the longer side of the face's box. With ``landmarks5`` it is turned so that the
    line through both eyes lies level; without, its pixels are those of the frame, scaled once. What lies outside the
    frame repeats the frame's edge.

    Args:
        rgb: uint8 [H, W, 3]; the frame.
        face: where it is.
        spec: margin, alignment and size.

    Returns:
        uint8 [size, size, 3].
    """
    x0, y0, x1, y1 = face.box
    side = max(1, min(round(max(x1 - x0, y1 - y0) * spec.margin), 2 * max(rgb.shape[:2])))
    centre = (x0 + x1) / 2, (y0 + y1) / 2
    square = _turned(rgb, centre, side, face) if spec.alignment == "landmarks5" else _straight(rgb, centre, side)
    if side == spec.size:
        return square
    how = cv2.INTER_AREA if side > spec.size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (spec.size, spec.size), interpolation=how), dtype=np.uint8)


def _straight(rgb: NDArray[np.uint8], centre: tuple[float, float], side: int) -> NDArray[np.uint8]:
    rows = _line(centre[1], side, rgb.shape[0])
    columns = _line(centre[0], side, rgb.shape[1])
    return np.ascontiguousarray(rgb[rows[:, None], columns])


def _line(centre: float, side: int, length: int) -> NDArray[np.int64]:
    start = round(centre - side / 2)
    return np.clip(np.arange(start, start + side), 0, length - 1)


def _turned(rgb: NDArray[np.uint8], centre: tuple[float, float], side: int, face: Face) -> NDArray[np.uint8]:
    right, left = face.landmarks[0], face.landmarks[1]  # the person's right eye lies to the left
    angle = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    turn = np.asarray(cv2.getRotationMatrix2D(centre, angle, 1.0), dtype=np.float64)
    turn[:, 2] += side / 2 - 0.5 - np.array(centre)
    turned = cv2.warpAffine(rgb, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, dtype=np.uint8)
