"""Following faces from one searched frame to the next, and saying where they are in between."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from media.faces.detector import Face

# Least intersection over union of two boxes of one face in consecutive searched frames; people nod and lean.
_SAME = 0.3
# A face that was not found in so many searched frames in a row is gone.
_MISSES = 2
# Least overlap of the colours of two frames of one scene; cuts of real footage lie below, moving people above.
_SAME_SCENE = 0.5
_BINS = 8  # a channel
_SMALL = (64, 36)  # px; the colours of a frame are those of its thumbnail
# Standard deviation, in ms, of the weight of neighbours: jitter is smoothed, movement is not.
_SMOOTHING_MS = 120.0


def colours(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how a frame's colours are distributed; float32 [512], of sum 1. It hardly changes when things move."""
    small = cv2.resize(rgb, _SMALL, interpolation=cv2.INTER_LINEAR)
    counts = cv2.calcHist([small], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    return np.asarray(counts.ravel() / counts.sum(), dtype=np.float32)


def is_cut(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Tell by their colours whether two frames belong to different scenes."""
    return float(np.minimum(before, after).sum()) < _SAME_SCENE


@dataclass(frozen=True)
class Sighting:
    """A face in a searched frame, and the track it belongs to."""

    track: int
    face: Face


@dataclass
class _Followed:
    track: int
    face: Face
    missed: int = 0


@dataclass
class Tracker:
    """Gives every face of consecutive searched frames the number of its track."""

    _active: list[_Followed] = field(default_factory=list)
    tracks: int = 0

    def cut(self) -> None:
        """Forget whom it followed: what comes is another scene."""
        self._active = []

    def follow(self, faces: list[Face]) -> list[Sighting]:
        """Join the faces of the next searched frame to the tracks whose last boxes they overlap most."""
        pairs = sorted(
            (
                (-overlap(known.face, face), number, position)
                for number, known in enumerate(self._active)
                for position, face in enumerate(faces)
            ),
        )
        owner: dict[int, _Followed] = {}
        taken: set[int] = set()
        for negative, number, position in pairs:
            if -negative >= _SAME and number not in taken and position not in owner:
                owner[position] = self._active[number]
                taken.add(number)
        for number, known in enumerate(self._active):
            known.missed = 0 if number in taken else known.missed + 1
        for position, face in enumerate(faces):
            if position not in owner:
                owner[position] = _Followed(self.tracks, face)
                self._active.append(owner[position])
                self.tracks += 1
            owner[position].face = face
        self._active = [known for known in self._active if known.missed <= _MISSES]
        return [Sighting(owner[position].track, face) for position, face in enumerate(faces)]


def overlap(one: Face, other: Face) -> float:
    """Return the intersection over union of two faces' boxes, 0..1."""
    a, b = one.box, other.box
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def smoothed(faces: list[tuple[float, Face]], time_ms: float) -> Face:
    """Return the mean of one face's sightings, weighted by how near in time they are to the one at ``time_ms``.

    Args:
        faces: time and face of each sighting, with that of ``time_ms`` among them.
        time_ms: when.
    """
    face = next(face for time, face in faces if time == time_ms)
    weights = np.array([np.exp(-0.5 * ((time - time_ms) / _SMOOTHING_MS) ** 2) for time, _ in faces])
    return _mean([one for _, one in faces], weights / weights.sum(), face.score)


def between(before: tuple[float, Face], after: tuple[float, Face], time_ms: float) -> Face:
    """Return where a face is at a time between two sightings; its score is the lower of theirs."""
    share = (time_ms - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
    score = min(before[1].score, after[1].score)
    return _mean([before[1], after[1]], np.array([1 - share, share]), score)


def _mean(faces: list[Face], weights: NDArray[np.float64], score: float) -> Face:
    box = np.tensordot(weights, np.array([face.box for face in faces], np.float64), 1)
    landmarks = np.tensordot(weights, np.array([face.landmarks for face in faces], np.float64), 1)
    x0, y0, x1, y1 = (float(value) for value in box)
    return replace(faces[0], box=(x0, y0, x1, y1), score=score, landmarks=landmarks.astype(np.float32))
