"""Judging a picture of any size in square tiles: where they lie, cutting them, and blending what comes back."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import SettingsError

P = TypeVar("P", bound=np.generic)

# How often training lays a crop of a forged picture over forged pixels instead of anywhere, unless a recipe says.
FORGED_CROPS = 0.7


@dataclass(frozen=True)
class TilePlan:
    """A grid of square tiles that covers a picture.

    Attributes:
        height: of the picture, px.
        width: of the picture, px.
        size: side of a tile, px.
        tops: first row of each row of tiles, increasing.
        lefts: first column of each column of tiles, increasing.
    """

    height: int
    width: int
    size: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @cached_property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """Top and left of every tile, row by row: the order in which tiles are cut and blended."""
        return tuple((top, left) for top in self.tops for left in self.lefts)


@dataclass(frozen=True)
class WholePlan:
    """A picture that is judged whole, scaled to one square.

    Attributes:
        height: of the picture, px.
        width: of the picture, px.
        size: side of the square, px.
    """

    height: int
    width: int
    size: int

    def __len__(self) -> int:
        return 1


Plan = TilePlan | WholePlan


def _starts(length: int, size: int, overlap: int) -> tuple[int, ...]:
    if length <= size:
        return (0,)
    count = -(-(length - overlap) // (size - overlap))
    # The last tile is moved inside the picture: real pixels are better than mirrored ones.
    return (*range(0, (count - 1) * (size - overlap), size - overlap), length - size)


def plan(height: int, width: int, size: int, overlap: int) -> TilePlan:
    """Lay out the smallest number of tiles that cover a picture and overlap by at least ``overlap`` px.

    Args:
        height: of the picture, px, at least 1.
        width: of the picture, px, at least 1.
        size: side of a tile, px.
        overlap: px that neighbours share at least, 0 to ``size`` - 1.

    Raises:
        SettingsError: when the overlap leaves a tile nothing of its own, or a size is not positive.
    """
    if min(height, width, size) < 1:
        raise SettingsError(f"a picture of {width}×{height} px cannot be cut into tiles of {size} px")
    if not 0 <= overlap < size:
        raise SettingsError(f"tile overlap = {overlap}: allowed is 0 to {size - 1}, less than the tile's {size} px")
    return TilePlan(height, width, size, _starts(height, size, overlap), _starts(width, size, overlap))


def pad_to(planes: NDArray[P], size: int) -> NDArray[P]:
    """Extend sides shorter than ``size`` at the bottom and right by reflection, repeated where it must be.

    Args:
        planes: [H, W, C] or [H, W] of any type.
        size: px each side has at least afterwards.

    Returns:
        The extended array; ``planes`` itself when it is large enough.
    """
    missing = [(0, max(0, size - side)) for side in planes.shape[:2]]
    if not any(after for _, after in missing):
        return planes
    return np.pad(planes, missing + [(0, 0)] * (planes.ndim - 2), mode="reflect")


def views(planes: NDArray[np.uint8], tile_plan: TilePlan) -> list[NDArray[np.uint8]]:
    """Cut a picture's planes into tiles.

    Args:
        planes: uint8 [H, W, C] of the plan's height and width.
        tile_plan: where the tiles lie.

    Returns:
        uint8 [size, size, C] for each of ``tile_plan.corners``; views of the planes, or of a padded copy where a side
        is shorter than a tile and was extended by reflection.

    Raises:
        ValueError: when the planes are not of the plan's size.
    """
    if planes.shape[:2] != (tile_plan.height, tile_plan.width):
        raise ValueError(f"planes of shape {planes.shape} for a plan of {tile_plan.height}×{tile_plan.width}")
    padded = pad_to(planes, tile_plan.size)
    size = tile_plan.size
    return [padded[top : top + size, left : left + size] for top, left in tile_plan.corners]


def cut(planes: NDArray[np.uint8], tile_plan: TilePlan) -> NDArray[np.uint8]:
    """Return the tiles of ``views`` as one array uint8 [N, size, size, C], a copy."""
    return np.stack(views(planes, tile_plan))


def _weights(starts: tuple[int, ...], size: int) -> NDArray[np.float32]:
    """Return [len(starts), size] weights along one axis that sum to 1 wherever tiles lie.

    Each tile rises and falls as sin² over what it shares with its neighbours, so that one passes smoothly into the
    next; the division makes the sum exact where more than two meet.
    """
    window = np.ones((len(starts), size))
    for before in range(len(starts) - 1):
        shared = starts[before] + size - starts[before + 1]
        rise = np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / max(shared, 1)) ** 2
        window[before + 1, :shared] *= rise
        window[before, size - shared :] *= rise[::-1]
    total = np.zeros(starts[-1] + size)
    for start, row in zip(starts, window, strict=True):
        total[start : start + size] += row
    return np.stack(
        [row / total[start : start + size] for start, row in zip(starts, window, strict=True)],
        dtype=np.float32,
        casting="same_kind",
    )


def blend(values: NDArray[np.float32], tile_plan: Plan) -> NDArray[np.float32]:
    """Put a value map per tile together into one of the whole picture, without seams.

    Every pixel is the weighted mean of the tiles that hold it; the weights sum to 1 and fade over the shared pixels.
    The map of a picture that was judged whole is scaled back to its size, linearly.

    Args:
        values: float32 [N, size, size], in the order of ``tile_plan.corners``.
        tile_plan: where the tiles lie.

    Returns:
        float32 [H, W] of the plan's height and width; what lay in padding is dropped.

    Raises:
        ValueError: when the values are not of the plan's shape.
    """
    size = tile_plan.size
    if values.shape != (len(tile_plan), size, size):
        raise ValueError(f"values of shape {values.shape} for a plan of {len(tile_plan)} tiles of {size} px")
    if isinstance(tile_plan, WholePlan):
        scaled = cv2.resize(values[0], (tile_plan.width, tile_plan.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(scaled, dtype=np.float32)
    vertical = np.repeat(_weights(tile_plan.tops, size), len(tile_plan.lefts), axis=0)
    horizontal = np.tile(_weights(tile_plan.lefts, size), (len(tile_plan.tops), 1))
    blended = np.zeros((max(tile_plan.height, size), max(tile_plan.width, size)), dtype=np.float32)
    for (top, left), tile, rows, columns in zip(tile_plan.corners, values, vertical, horizontal, strict=True):
        blended[top : top + size, left : left + size] += tile * rows[:, None] * columns
    return blended[: tile_plan.height, : tile_plan.width]
