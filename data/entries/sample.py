"""What one entry comes to, whatever it was: samples with their encoded pixels, ready to be stored."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.labels import AUTHENTIC
from media.extraction import ExtractionSpec
from media.pictures import encode_png


@dataclass(frozen=True)
class Sample:
    """A picture, or a face in a frame.

    Attributes:
        data: encoded pixels.
        extension: of the name that they are stored under.
        rgb: uint8 [H, W, 3]; the pixels.
        compression: of the medium.
        label: its class, 0 for what is authentic.
        frame: number of the frame in its clip.
        time_ms: of the frame.
        track: number of the face that is followed; -1 where none is.
        run: of consecutive frames, the one that the frame belongs to.
        box: of the face, x0, y0, x1, y1 in px of ``rgb``.
        box_score: of the detector.
        landmarks: of the face, x and y of five points in px of ``rgb``.
        crop: where ``rgb`` lies on the frame, x0, y0, x1, y1 in px.
        grid: origin of ``rgb`` on the frame modulo 16, x and y; None where it was scaled or is of no frame.
        mask: bool [H, W]; None where nothing is marked.
        fingerprints: of pictures that are compared.
    """

    data: bytes
    extension: str
    rgb: NDArray[np.uint8]
    compression: str
    label: int
    frame: int = 0
    time_ms: float = 0.0
    track: int = -1
    run: int = 0
    box: tuple[float, ...] | None = None
    box_score: float | None = None
    landmarks: tuple[float, ...] | None = None
    crop: tuple[float, ...] | None = None
    grid: tuple[int, int] | None = None
    mask: NDArray[np.bool_] | None = None
    fingerprints: tuple[tuple[int, int], ...] = ()

    @property
    def forged_fraction(self) -> float:
        """Forged pixels / pixels; a manipulated face has no mask, and all of it is suspect."""
        if self.mask is None:
            return float(self.label != AUTHENTIC)
        return float(np.count_nonzero(self.mask)) / self.mask.size


def encode(rgb: NDArray[np.uint8], extraction: ExtractionSpec) -> tuple[bytes, str]:
    """Return pixels as they are stored, and the extension of their name."""
    if extraction.store != "jpeg":
        return encode_png(rgb), "png"
    quality = [cv2.IMWRITE_JPEG_QUALITY, extraction.jpeg_quality]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1].tobytes(), "jpg"
