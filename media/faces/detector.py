"""Finding faces in one picture with YuNet (Wu et al. 2023), whose file lies beside this module."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import MismatchError, StorageError
from media.extraction import DetectorSpec

WEIGHTS = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
MAX_FACES = 16  # of one picture, the largest; in a crowd nobody is judged by a face of a few pixels
_OVERLAP = 0.3  # of two boxes (intersection over union) of one face, as in OpenCV's own use of YuNet
_TOP_K = 5000


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        box: x0, y0, x1, y1 in px of the picture; may reach over its edges.
        score: how sure the detector is, 0..1.
        landmarks: float32 [5, 2], x and y in px: right eye, left eye, tip of the nose, right and left corner of the
            mouth, as the person has them.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float32]


class FaceDetector:
    """YuNet with its weights; for one thread at a time."""

    def __init__(self, spec: DetectorSpec) -> None:
        """Load the weights.

        Args:
            spec: which weights, the least score, and how large pictures are searched.

        Raises:
            MismatchError: when the weights that are shipped are not those that the specification names.
            StorageError: when they cannot be read.
        """
        self._spec = spec
        try:
            weights = WEIGHTS.read_bytes()
        except OSError as error:
            raise StorageError(f"cannot read the face detector {WEIGHTS}: {error.strerror}; install again") from error
        found = hashlib.sha256(weights).hexdigest()
        if found != spec.sha256:
            raise MismatchError(
                f"the face detector {WEIGHTS} has sha256 {found}, the specification names {spec.sha256}; install the "
                "version that the specification was made with, or extract again"
            )
        # From memory: what was hashed is what is loaded.
        self._network = cv2.FaceDetectorYN.create(
            "onnx", np.frombuffer(weights, np.uint8), np.empty(0, np.uint8), (64, 64), spec.min_score, _OVERLAP, _TOP_K
        )

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Find faces.

        Args:
            rgb: uint8 [H, W, 3].

        Returns:
            At most ``MAX_FACES``, the largest first.
        """
        height, width = rgb.shape[:2]
        scale = min(1.0, self._spec.long_side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = rgb if scale == 1.0 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        self._network.setInputSize(size)
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        factor = np.array([width / size[0], height / size[1]], np.float32)
        faces = [] if rows is None else [_face(row, factor) for row in rows if np.isfinite(row).all()]
        return sorted(faces, key=lambda face: (-_area(face), face.box))[:MAX_FACES]


def _face(row: NDArray[np.float32], factor: NDArray[np.float32]) -> Face:
    x0, y0 = row[:2] * factor
    x1, y1 = (row[:2] + row[2:4]) * factor
    landmarks = (row[4:14].reshape(5, 2) * factor).astype(np.float32)
    return Face((float(x0), float(y0), float(x1), float(y1)), float(row[14]), landmarks)


def _area(face: Face) -> float:
    return (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])
