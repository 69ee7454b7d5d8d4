"""Where a forgery lies: shapes cut by hand, and regions that follow the picture."""

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from media.forging.chance import log_uniform, uniform, weighted
from media.forging.segments import (
    CUT_SIDE,
    Side,
    border_region,
    cut_out,
    enlarge,
    object_region,
    shrink,
    standing_out,
)

Mask = NDArray[np.bool_]
Shape = Literal["object", "cut-out", "blob", "polygon", "rectangle", "half", "background"]
OBJECTS: dict[Shape, float] = {"object": 4, "cut-out": 4, "blob": 1, "polygon": 0.5, "rectangle": 0.75}
REMOVED: dict[Shape, float] = {"object": 3, "cut-out": 3, "blob": 1}
LARGE: dict[Shape, float] = {"blob": 3, "half": 2, "background": 3, "rectangle": 0.5}

Points = NDArray[np.float64]


def _wobble(rng: np.random.Generator, count: int, strength: float) -> Points:
    """Return a smooth periodic function of unit-free amplitude ``strength``: the unsteadiness of a hand."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    total = np.zeros(count)
    for wave in range(2, 10):
        total += rng.normal(0, 1 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    return np.asarray(strength * total)


def _turn(points: Points, angle: float) -> Points:
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[c, s], [-s, c]]))


def _blob(rng: np.random.Generator) -> Points:
    angles = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    # A superellipse: exponent 2 is an ellipse, larger ones come near a rounded box.
    power = 2 / rng.uniform(2, 5)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    base = np.sign(circle) * np.abs(circle) ** power
    base[:, 0] *= log_uniform(rng, (0.5, 2.0))
    return np.asarray(base * (1 + _wobble(rng, len(angles), uniform(rng, (0.0, 0.25))))[:, None])


def _polygon(rng: np.random.Generator) -> Points:
    count = int(rng.integers(3, 9))
    angles = np.sort((np.arange(count) + rng.uniform(-0.4, 0.4, count)) * 2 * np.pi / count)
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.6, 1.2, count)[:, None]
    return np.asarray(corners, dtype=np.float64)


def _rectangle(rng: np.random.Generator) -> Points:
    half = np.array([log_uniform(rng, (0.4, 2.5)), 1.0])
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return np.asarray(corners * half, dtype=np.float64)


def _draw_polygon(shape: tuple[int, int], points: Points) -> Mask:
    canvas = np.zeros(shape, dtype=np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], 1, shift=4)
    return canvas > 0


def _drawn(rng: np.random.Generator, shape: tuple[int, int], area: float, kind: Shape) -> Mask:
    height, width = shape
    outline = {"blob": _blob, "polygon": _polygon, "rectangle": _rectangle}[kind](rng)
    turn = rng.normal(0, 0.12) if kind == "rectangle" else rng.uniform(0, 2 * np.pi)
    outline = _turn(outline, turn)
    x, y = outline[:, 0], outline[:, 1]
    unit = 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))  # shoelace formula
    outline = outline * np.sqrt(area * height * width / max(unit, 1e-6))
    centre = rng.uniform(0.05, 0.95, 2) * (width, height)
    return _draw_polygon(shape, outline + centre)


def _half(rng: np.random.Generator, shape: tuple[int, int], area: float) -> Mask:
    """Cut along an unsteady line across the picture, so that one side of it has about the area asked for."""
    height, width = shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = float(rng.choice([0, 0.5, 1, 1.5])) * np.pi + rng.normal(0, 0.15)
    across = np.cos(angle) * (xs - width / 2) + np.sin(angle) * (ys - height / 2)
    along = -np.sin(angle) * (xs - width / 2) + np.cos(angle) * (ys - height / 2)
    span = max(height, width) * 1.5
    line = _wobble(rng, 512, uniform(rng, (0.0, 0.05)) * span)
    value = across + line[np.clip((along / span + 0.5) * 512, 0, 511).astype(np.int32)]
    return np.asarray(value < np.quantile(value, area))


def _boxed(rng: np.random.Generator, rgb: NDArray[np.uint8], area: float) -> Mask:
    """Cut out the foreground of a random box; an object fills about half of the box around it."""
    height, width = rgb.shape[:2]
    aspect = log_uniform(rng, (0.5, 2.0))
    side = np.sqrt(min(0.8, 2 * area) * height * width)
    w, h = min(0.94 * width, side * aspect**0.5), min(0.94 * height, side / aspect**0.5)
    x, y = rng.uniform(0.02 * width, 0.98 * width - w), rng.uniform(0.02 * height, 0.98 * height - h)
    return cut_out(rgb, rng, (int(x), int(y), int(w), int(h)))


def _best_boxed(rng: np.random.Generator, rgb: NDArray[np.uint8], area: float) -> Mask:
    """Return the better of two cut-outs: a box at random often holds no object at all."""
    small = shrink(rgb, CUT_SIDE)
    found = [_boxed(rng, small, area) for _ in range(2)]
    return enlarge(max(found, key=lambda region: standing_out(small, region)), rgb.shape[:2])


def draw_region(rng: np.random.Generator, rgb: NDArray[np.uint8], shape: Shape, area: float) -> Mask:
    """Draw a region of a picture.

    Args:
        rng: source of chance.
        rgb: uint8 H×W×3, the picture whose edges ``object``, ``cut-out`` and ``background`` follow.
        shape: how the region is made.
        area: share of the picture, 0..1; what comes out may be smaller where it leaves the picture.

    Returns:
        bool H×W, perhaps empty.
    """
    if shape == "object":
        return object_region(rgb, rng, area)
    if shape == "cut-out":
        return _best_boxed(rng, rgb, area)
    if shape == "background":
        side: Side = weighted(rng, {name: 2.0 if name == "top" else 1.0 for name in get_args(Side)})
        return border_region(rgb, rng, area, side)
    if shape == "half":
        return _half(rng, rgb.shape[:2], area)
    return _drawn(rng, rgb.shape[:2], area, shape)
