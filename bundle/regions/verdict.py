"""From a map of probabilities to a verdict: the one place that decides when a picture counts as forged."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.errors import BadInputError
from core.settings import Settings

_BAND = 256  # rows that are summed at one time, which bounds the memory it takes


class OperatingPoint(Settings):
    """From when on a picture counts as forged; chosen on the validation split."""

    threshold: float = Field(ge=0, le=1)
    """A pixel counts as forged when its probability is at least this, 0 to 1."""
    min_area_fraction: float = Field(ge=0, le=1)
    """A picture counts as forged when at least this fraction of its pixels does, and at least one."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one picture.

    Attributes:
        score: 0 to 1; at least the threshold exactly when the picture counts as forged.
        forged: the verdict.
        forged_fraction: marked pixels / pixels, 0 to 1.
        mask: bool [H, W], the pixels marked as forged; none where the picture does not count as forged.
    """

    score: float
    forged: bool
    forged_fraction: float
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """One connected forged region.

    Attributes:
        polygon: its outer border simplified, (x, y) in px, at least three corners; holes are not drawn.
        score: mean probability of its forged pixels, 0 to 1.
        area_fraction: its forged pixels / the picture's pixels, 0 to 1.
        box: x0, y0, x1, y1 in px; x1 and y1 lie just outside.
    """

    polygon: tuple[tuple[int, int], ...]
    score: float
    area_fraction: float
    box: tuple[int, int, int, int]


def required_pixels(pixels: int, min_area_fraction: float) -> int:
    """Return the smallest count k ≥ 1 with k / ``pixels`` ≥ ``min_area_fraction``, in floating point as written."""
    count = max(1, ceil(min_area_fraction * pixels))
    # The product above is rounded, and ceil of 7.000000000000001 is 8.
    return count - 1 if count > 1 and (count - 1) / pixels >= min_area_fraction else count


def image_score(probability: NDArray[np.float32], min_area_fraction: float) -> float:
    """Return the highest threshold at which the picture would still count as forged.

    It is the k-th largest probability with k the pixels that ``min_area_fraction`` asks for. So the score can be
    thresholded, ranked and averaged like any classifier's, and agrees with the area criterion at every threshold.

    Args:
        probability: float32 [H, W], 0 to 1.
        min_area_fraction: 0 to 1.

    Raises:
        BadInputError: ``not-finite`` when the map holds NaN.
    """
    rank = probability.size - required_pixels(probability.size, min_area_fraction)
    # NaN sorts above everything: if there is one, it is in the upper part.
    ordered = np.partition(probability, rank, axis=None)
    if np.isnan(ordered[rank:]).any():
        raise BadInputError("not-finite", "the probability map holds NaN; the network that made it is broken")
    return float(ordered[rank])


def forged_mask(probability: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return bool [H, W]: where the probability is at least ``threshold``.

    The comparison is in double precision as that of a score is: NumPy would otherwise round the threshold to float32
    and could find a forged pixel in a picture whose score is below the threshold.
    """
    return np.asarray(probability >= np.float64(threshold))


def decide(probability: NDArray[np.float32], point: OperatingPoint) -> Verdict:
    """Decide whether a picture counts as forged.

    Args:
        probability: float32 [H, W], 0 to 1.
        point: threshold and minimum area.

    Raises:
        BadInputError: ``not-finite`` when the map holds NaN.
    """
    score = image_score(probability, point.min_area_fraction)
    forged = score >= point.threshold
    mask = forged_mask(probability, point.threshold) & forged
    return Verdict(score, forged, float(mask.mean()), mask)


def _polygon(contour: NDArray[np.int32], box: tuple[int, int, int, int]) -> tuple[tuple[int, int], ...]:
    tolerance = max(1.0, 0.002 * cv2.arcLength(contour, closed=True))
    corners = cv2.approxPolyDP(contour, tolerance, closed=True).reshape(-1, 2)
    if len(corners) < 3:  # a dot or a line
        left, top, right, bottom = box
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    return tuple((int(x), int(y)) for x, y in corners)


def regions(probability: NDArray[np.float32], mask: NDArray[np.bool_], limit: int = 100) -> list[Region]:
    """Outline the forged regions, largest and surest first.

    Regions are 8-connected. One that lies in a hole of another belongs to that other. The minimum area is a criterion
    on the whole picture, and drops no region of one that counts as forged.

    Args:
        probability: float32 [H, W], 0 to 1.
        mask: bool [H, W], as ``decide`` returns it.
        limit: how many regions to return at most.

    Returns:
        Sorted by area × score, descending.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) > limit:
        contours = _heaviest(contours, probability, mask, limit)
    found = []
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        window = np.s_[top : top + height, left : left + width]
        inside = np.zeros((height, width), dtype=np.uint8)
        cv2.drawContours(inside, [contour], 0, color=1, thickness=cv2.FILLED, offset=(-left, -top))
        pixels = probability[window][inside.astype(bool) & mask[window]]
        box = (left, top, left + width, top + height)
        score = float(pixels.mean(dtype=np.float64))
        found.append(Region(_polygon(np.asarray(contour), box), score, pixels.size / mask.size, box))
    found.sort(key=lambda region: (-region.area_fraction * region.score, region.box))
    return found


def _heaviest(
    contours: Sequence[NDArray[Any]], probability: NDArray[np.float32], mask: NDArray[np.bool_], limit: int
) -> list[NDArray[Any]]:
    """Return the contours of the regions with the greatest area × score.

    A mask of noise has a region for every few pixels, which would take minutes if each were looked at by itself.
    """
    filled = cv2.drawContours(np.zeros(mask.shape, dtype=np.uint8), contours, -1, color=1, thickness=cv2.FILLED)
    count, drawn = cv2.connectedComponents(filled, connectivity=8)
    labels, sums = np.asarray(drawn), np.zeros(count)
    for top in range(0, len(mask), _BAND):
        band = np.s_[top : top + _BAND]
        sums += np.bincount(labels[band][mask[band]], weights=probability[band][mask[band]], minlength=count)
    x, y = np.array([contour[0, 0] for contour in contours]).T
    return [contours[number] for number in np.argsort(-sums[labels[y, x]], kind="stable")[:limit]]
