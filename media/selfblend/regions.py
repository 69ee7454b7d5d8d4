"""Where a pseudo-fake is blended: a deformed outline of the face, or of a part of it, with a soft edge.

Lengths are in units of the face's box, the longer side of which is 1; the origin is its middle, x points right and y
down. Where the box lies is known of every stored face (``media.selfblend.placing``), so no landmarks are needed.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from media.selfblend.placing import Place

VERTICES = 64
GRID = 4  # points a side of the elastic displacement field


@dataclass(frozen=True)
class Shape:
    """An outline: half an ellipse above the middle (x 0, y ``middle``) and a tapering one below it.

    ``width`` is half its width, ``top`` and ``bottom`` reach up and down, ``taper`` is the share of the width lost
    towards the bottom (a chin).
    """

    width: float
    top: float
    bottom: float
    middle: float = 0.0
    taper: float = 0.0


# Proportions as YuNet boxes faces: eyes at about -0.1, mouth at about 0.3, the cheeks 0.75 of the height apart. What
# face-swapping and reenacting methods replace are the whole face, its inner part, or the mouth with the chin.
SHAPES = {
    "face": Shape(width=0.38, top=0.42, bottom=0.47, taper=0.3),
    "inner": Shape(width=0.31, top=0.27, bottom=0.38, middle=0.02, taper=0.25),
    "mouth": Shape(width=0.25, top=0.17, bottom=0.20, middle=0.26, taper=0.2),
    "eyes": Shape(width=0.34, top=0.14, bottom=0.15, middle=-0.12),
}
SHARES = {"face": 0.6, "inner": 0.2, "mouth": 0.12, "eyes": 0.08}
ANGULAR = 0.3  # how often the outline is the convex hull of few of its points, as masks made from landmarks are
CORNERS = (8, 12)

SHIFT = 0.04  # greatest shift of the outline
STRETCH = 0.12  # greatest relative stretch along either axis
TURN = 10.0  # greatest rotation, degrees
ELASTIC = 0.05  # greatest displacement of a point of the field
SOFTNESS = (0.004, 0.06)  # standard deviation of the edge's blur


@dataclass(frozen=True)
class Region:
    """A region as drawn.

    Attributes:
        outline: float64 [n, 2], points (x, y) in units of the box.
        softness: standard deviation of the edge's blur, in units of the box.
    """

    outline: NDArray[np.float64]
    softness: float


def draw_region(rng: np.random.Generator) -> Region:
    """Draw a region: a part of the face, its outline moved, stretched, turned and elastically deformed."""
    name = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    points = _outline(SHAPES[name])
    if rng.random() < ANGULAR:
        corners = rng.choice(VERTICES, size=int(rng.integers(*CORNERS, endpoint=True)), replace=False)
        points = points[np.sort(corners)]
    points = _moved(points, rng)
    low, high = np.log(SOFTNESS)
    return Region(points + _elastic(points, rng), float(np.exp(rng.uniform(low, high))))


def render_region(region: Region, height: int, width: int, place: Place) -> NDArray[np.float32]:
    """Draw a region's weight in a picture.

    Args:
        region: what to draw.
        height: of the picture, px.
        width: of the picture, px.
        place: of the face in it.

    Returns:
        float32 [height, width] in 0..1: 1 inside, 0 outside, with a soft edge; its greatest value is 1.
    """
    scale, bits = place.box_side, 4
    points = region.outline * scale + np.array(place.centre)
    canvas = np.zeros((height, width), dtype=np.float32)
    cv2.fillPoly(canvas, [np.rint(points * (1 << bits)).astype(np.int32)], 1.0, cv2.LINE_8, bits)
    # Whatever was drawn, something is blended.
    x, y = np.rint(points.mean(axis=0)).astype(int).clip(0, [width - 1, height - 1])
    canvas[y, x] = 1.0
    soft = cv2.GaussianBlur(canvas, (0, 0), max(region.softness * scale, 0.3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft / soft.max(), dtype=np.float32)


def _outline(shape: Shape) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    down = np.sin(angle)
    narrowing = 1 - shape.taper * np.clip(down, 0, None) ** 2
    return np.stack(
        [
            shape.width * np.cos(angle) * narrowing,
            shape.middle + np.where(down < 0, shape.top, shape.bottom) * down,
        ],
        axis=1,
    )


def _moved(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Stretch, turn and shift an outline about its middle."""
    centre = points.mean(axis=0)
    stretch = 1 + rng.uniform(-STRETCH, STRETCH, size=2)
    turn = np.deg2rad(rng.uniform(-TURN, TURN))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved: NDArray[Any] = ((points - centre) * stretch) @ rotation.T + centre + rng.uniform(-SHIFT, SHIFT, size=2)
    return moved


def _elastic(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the displacement of every point by a smooth random field over the box."""
    field = rng.uniform(-ELASTIC, ELASTIC, size=(GRID, GRID, 2)).astype(np.float32)
    at = ((points + 0.5) * (GRID - 1)).astype(np.float32)
    moved = cv2.remap(field, at[:, 0], at[:, 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved.reshape(-1, 2), dtype=np.float64)
