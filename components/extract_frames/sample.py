"""What one entry comes to, whatever it was: samples with their encoded pixels, ready to be stored."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from media.pictures import encode_png


@dataclass(frozen=True)
class EntrySettings:
    """What decides how an entry is stored; a part of a chunk's name.

    Attributes:
        max_bytes: of a file.
        max_pixels: of a picture or a frame.
        max_seconds: of a clip.
        max_frames: of a clip.
        mirrored: whether mirror images are fingerprinted too.
        store: ``original``, ``png`` or ``jpeg``.
        jpeg_quality: of ``jpeg``.
        labels: names of the classes 0 and 1.
        clips: for layouts of clips, the extraction's specification as JSON; empty for pictures.
        boxes_of_original: whether a manipulated clip's faces are searched in the clip that it was made from.
    """

    max_bytes: int
    max_pixels: int
    max_seconds: float
    max_frames: int
    mirrored: bool
    store: str
    jpeg_quality: int
    labels: tuple[str, str]
    clips: str
    boxes_of_original: bool


@dataclass(frozen=True)
class Sample:
    """A picture, or a face in a frame.

    Attributes:
        data: encoded pixels.
        extension: of the name that they are stored under.
        rgb: uint8 [H, W, 3]; the pixels.
        compression: of the medium.
        label: 0 authentic, 1 forged.
        frame: number of the frame in its clip.
        time_ms: of the frame.
        track: number of the face that is followed; -1 where none is.
        box: of the face in the frame, in px.
        box_score: of the detector.
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
    box: tuple[float, float, float, float] | None = None
    box_score: float | None = None
    mask: NDArray[np.bool_] | None = None
    fingerprints: tuple[tuple[int, int], ...] = ()

    @property
    def forged_fraction(self) -> float:
        """Forged pixels / pixels; a manipulated face has no mask, and all of it is suspect."""
        return float(self.label) if self.mask is None else float(np.count_nonzero(self.mask)) / self.mask.size


def encode(rgb: NDArray[np.uint8], settings: EntrySettings) -> tuple[bytes, str]:
    """Return pixels as they are stored, and the extension of their name."""
    if settings.store != "jpeg":
        return encode_png(rgb), "png"
    quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1].tobytes(), "jpg"
