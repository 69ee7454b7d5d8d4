"""What sets the two copies of a face apart: colour, frequency and geometry.

All parameters are drawn before any pixel is seen, so that every frame of a clip is changed alike, and far enough from
nothing that the two copies always differ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from media.ela import recompress
from media.selfblend.placing import Place

Rgb = NDArray[np.uint8]
Change = Callable[[Rgb, Place], Rgb]

RGB_SHIFT = (3, 12)  # grey levels of the channel that is shifted most
HUE_SHIFT = (1, 4)  # of OpenCV's 180
SATURATION = (0.05, 0.2)  # relative
BRIGHTNESS = (3, 14)  # grey levels
CONTRAST = (0.04, 0.12)  # relative, about middle grey
DOWNSCALE = (0.3, 0.75)  # side of the small copy / side
SHARPENING = (0.4, 1.5)  # weight of what a blur takes away
BLUR = (0.6, 1.6)  # standard deviation, px of a crop 256 px wide
JPEG_QUALITY = (35, 80)
TRANSLATION = (0.03, 0.015)  # greatest, along x and y, of the side
SCALING = 0.05  # greatest relative
INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)

COLOUR_SHARE = 0.8  # how often colour differs; where it does not, frequency does
FREQUENCY_SHARE = 0.6


@dataclass(frozen=True)
class Differences:
    """Changes of one copy, in order, and the geometry of the copy that is blended in.

    Attributes:
        changes: of colour and frequency, at least one.
        translation: of the side, along x and y.
        scaling: along x and y.
    """

    changes: tuple[Change, ...]
    translation: tuple[float, float]
    scaling: tuple[float, float]

    def change(self, rgb: Rgb, place: Place) -> Rgb:
        """Return a copy with other colours or frequencies; uint8 [H, W, 3]."""
        for step in self.changes:
            rgb = step(rgb, place)
        return rgb

    def move(self, rgb: Rgb, place: Place) -> Rgb:
        """Return a copy moved and scaled about the face's middle, continued beyond its edges by reflection."""
        height, width = rgb.shape[:2]
        (sx, sy), (tx, ty), (cx, cy) = self.scaling, self.translation, place.centre
        matrix = np.array([[sx, 0, cx - sx * cx + tx * place.width], [0, sy, cy - sy * cy + ty * place.height]])
        moved = cv2.warpAffine(rgb, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(moved, dtype=np.uint8)


def draw_differences(rng: np.random.Generator) -> Differences:
    """Draw what sets the two copies apart."""
    changes: list[Change] = []
    if rng.random() < COLOUR_SHARE:
        kinds = rng.permutation(len(_COLOURS))[: 1 + int(rng.random() < 0.5)]
        changes += [_COLOURS[kind](rng) for kind in kinds]
    if not changes or rng.random() < FREQUENCY_SHARE:
        changes.append(_FREQUENCIES[int(rng.integers(len(_FREQUENCIES)))](rng))
    tx, ty = (float(rng.uniform(-limit, limit)) for limit in TRANSLATION)
    sx, sy = (float(rng.uniform(1 - SCALING, 1 + SCALING)) for _ in "xy")
    return Differences(tuple(changes), (tx, ty), (sx, sy))


def _signed(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw an absolute value from ``bounds`` and a sign."""
    return float(rng.uniform(*bounds) * rng.choice((-1, 1)))


def _as_bytes(levels: NDArray[np.floating]) -> Rgb:
    return np.asarray(np.clip(np.rint(levels), 0, 255), dtype=np.uint8)


def _rgb_shift(rng: np.random.Generator) -> Change:
    shift = rng.uniform(-1, 1, size=3)
    shift *= rng.uniform(*RGB_SHIFT) / np.abs(shift).max()
    table = _as_bytes(np.arange(256)[:, None] + shift)[:, None]
    return lambda rgb, _: np.asarray(cv2.LUT(rgb, table), dtype=np.uint8)


def _hue_and_saturation(rng: np.random.Generator) -> Change:
    hue, saturation = _signed(rng, HUE_SHIFT), 1 + _signed(rng, SATURATION)
    levels = np.arange(256)
    table = np.stack([(levels + round(hue)) % 180, _as_bytes(levels * saturation), levels], axis=1)[:, None]
    table = table.astype(np.uint8)

    def change(rgb: Rgb, _: Place) -> Rgb:
        hsv = cv2.LUT(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), table)
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)

    return change


def _brightness_and_contrast(rng: np.random.Generator) -> Change:
    brightness, contrast = _signed(rng, BRIGHTNESS), 1 + _signed(rng, CONTRAST)
    table = _as_bytes((np.arange(256) - 127.5) * contrast + 127.5 + brightness)
    return lambda rgb, _: np.asarray(cv2.LUT(rgb, table), dtype=np.uint8)


def _downscale(rng: np.random.Generator) -> Change:
    share = float(rng.uniform(*DOWNSCALE))
    down, up = (INTERPOLATIONS[int(rng.integers(len(INTERPOLATIONS)))] for _ in range(2))

    def change(rgb: Rgb, _: Place) -> Rgb:
        height, width = rgb.shape[:2]
        small = cv2.resize(rgb, (max(1, round(width * share)), max(1, round(height * share))), interpolation=down)
        return np.asarray(cv2.resize(small, (width, height), interpolation=up), dtype=np.uint8)

    return change


def _sharpen(rng: np.random.Generator) -> Change:
    weight, sigma = float(rng.uniform(*SHARPENING)), float(rng.uniform(*BLUR))

    def change(rgb: Rgb, place: Place) -> Rgb:
        blurred = cv2.GaussianBlur(rgb, (0, 0), sigma * place.width / 256)
        return np.asarray(cv2.addWeighted(rgb, 1 + weight, blurred, -weight, 0), dtype=np.uint8)

    return change


def _blur(rng: np.random.Generator) -> Change:
    sigma = float(rng.uniform(*BLUR))
    return lambda rgb, place: np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma * place.width / 256), dtype=np.uint8)


def _compress(rng: np.random.Generator) -> Change:
    quality = int(rng.integers(*JPEG_QUALITY, endpoint=True))
    return lambda rgb, _: recompress(rgb, quality)


_COLOURS = (_rgb_shift, _hue_and_saturation, _brightness_and_contrast)
_FREQUENCIES = (_downscale, _sharpen, _blur, _compress)
