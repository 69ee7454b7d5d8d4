"""Named, deterministic degradations: what happens to a picture on its way through the world, for the robustness curve.

All keep size and geometry, so that a ground-truth mask stays valid.
"""

import zlib
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import unknown_name
from media.ela import recompress

Degradation = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

NOISE_STD = 5.0  # grey levels of 255
BLUR_SIGMA = 1.0  # px


def _jpeg(quality: int) -> Degradation:
    return lambda rgb: recompress(rgb, quality)


def _half(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale to half by area and back by linear interpolation: the fine traces go, the geometry stays."""
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _blur(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), BLUR_SIGMA), dtype=np.uint8)


def _noise(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Seeded by the content: the same picture is always degraded alike, and two pictures never share their noise.
    generator = np.random.default_rng(zlib.crc32(rgb.tobytes()))
    noisy = rgb + NOISE_STD * generator.standard_normal(rgb.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


_DEGRADATIONS: dict[str, Degradation] = {
    "jpeg90": _jpeg(90),
    "jpeg70": _jpeg(70),
    "jpeg50": _jpeg(50),
    "half": _half,
    "blur": _blur,
    "noise": _noise,
}
DEGRADATIONS = tuple(_DEGRADATIONS)


def degradation(name: str) -> Degradation:
    """Return a degradation: a pure function of uint8 [H, W, 3] RGB to the same shape and type.

    ``jpeg90``, ``jpeg70`` and ``jpeg50`` compress once at that quality; ``half`` scales to half and back; ``blur`` is
    Gaussian with sigma 1 px; ``noise`` is Gaussian with standard deviation 5/255, seeded by the picture's content.

    Raises:
        SettingsError: for a name that is none of ``DEGRADATIONS``.
    """
    if name not in _DEGRADATIONS:
        raise unknown_name("degradation", name, DEGRADATIONS)
    return _DEGRADATIONS[name]
