"""Small pictures that show a verdict: heat where a model sees forgery, its outline, and the outline of the truth."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.heat import lay_heat

FOUND = (255, 48, 48)  # RGB of the outline of what a model marks
TRUTH = (48, 224, 255)  # RGB of the outline of the ground truth
THUMBNAIL = 320  # longest side, px
GAP = 4  # px between pictures side by side
JPEG_QUALITY = 88

Rgb = NDArray[np.uint8]


def shrink(picture: NDArray[Any], max_side: int) -> NDArray[Any]:
    """Scale a picture or map [H, W, …] down by area so that no side is longer than ``max_side``; never up."""
    height, width = picture.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA))


def _outline(canvas: Rgb, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    small = shrink(mask.astype(np.float32), max(canvas.shape[:2]))
    # Any forged pixel counts: a small region must not vanish in the thumbnail.
    contours, _ = cv2.findContours((small > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, thickness=2 if max(canvas.shape[:2]) > 400 else 1)


def heat_overlay(
    rgb: Rgb,
    probability: NDArray[np.float32],
    marked: NDArray[np.bool_],
    truth: NDArray[np.bool_] | None = None,
    *,
    max_side: int = THUMBNAIL,
) -> Rgb:
    """Draw a model's probabilities as heat, what it marks outlined in red, and the truth outlined in light blue.

    Args:
        rgb: uint8 [H, W, 3].
        probability: float32 [H, W], 0..1.
        marked: bool [H, W]; nothing marked has no outline.
        truth: bool [H, W], when known.
        max_side: longest side of the result, px.

    Returns:
        uint8 [h, w, 3].
    """
    canvas = np.asarray(shrink(rgb, max_side), dtype=np.uint8)
    small = np.asarray(shrink(probability, max_side), dtype=np.float32)
    canvas = lay_heat(canvas, small)
    _outline(canvas, marked, FOUND)
    if truth is not None:
        _outline(canvas, truth, TRUTH)
    return canvas


def truth_overlay(rgb: Rgb, truth: NDArray[np.bool_], *, max_side: int = THUMBNAIL) -> Rgb:
    """Draw the picture as it is with the truth outlined in light blue; uint8 [h, w, 3]."""
    canvas = np.ascontiguousarray(shrink(rgb, max_side), dtype=np.uint8).copy()
    _outline(canvas, truth, TRUTH)
    return canvas


def side_by_side(pictures: Sequence[Rgb]) -> Rgb:
    """Put pictures of equal height next to each other with white gaps; uint8 [h, w, 3]."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=1)


def encode_jpeg(rgb: Rgb) -> bytes:
    """Encode an overlay for a report; quality 88."""
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
