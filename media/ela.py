"""Error level analysis: what a picture loses when it is compressed once more."""

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.errors import BadInputError
from core.settings import Settings

JPEG_LIMIT = 65_500  # px a side; the largest that libjpeg writes


class ElaSpec(Settings):
    """Error level analysis: ``scale`` × |picture - its JPEG at ``quality``|, clipped to 0..255."""

    quality: int = Field(default=90, ge=1, le=100)
    """Of the JPEG, libjpeg's scale."""
    scale: float = Field(default=15.0, gt=0)
    """How much the differences are amplified."""


def recompress(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compress a picture as a baseline JPEG with 4:2:0 chroma and decode it again.

    Args:
        rgb: uint8 [H, W, 3], RGB.
        quality: libjpeg's scale, 1 to 100.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        BadInputError: ``too-large`` when a side is longer than a JPEG can be.
    """
    if max(rgb.shape[:2]) > JPEG_LIMIT:
        raise BadInputError(
            "too-large", f"a picture of {rgb.shape[1]}×{rgb.shape[0]} px is over JPEG's {JPEG_LIMIT} px a side"
        )
    parameters = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def error_level(rgb: NDArray[np.uint8], spec: ElaSpec) -> NDArray[np.uint8]:
    """Return ``spec.scale`` × |picture - its JPEG at ``spec.quality``|, rounded and clipped to 0..255.

    Regions with another compression history than the rest lose more or less in a further compression (Krawetz, "A
    Picture's Worth", 2007). In training it is computed on the augmented crop, in judging on the whole picture, so that
    it always describes the very pixels that the network sees beside it.

    Args:
        rgb: uint8 [H, W, 3], RGB.
        spec: quality and amplification.

    Returns:
        uint8 [H, W, 3], per colour channel.

    Raises:
        BadInputError: ``too-large`` when a side is longer than a JPEG can be.
    """
    difference = cv2.absdiff(rgb, recompress(rgb, spec.quality))
    return np.asarray(cv2.convertScaleAbs(difference, alpha=spec.scale), dtype=np.uint8)
