"""Whose face a crop is, from one stretch of a clip to the next.

Within a stretch, frames of one run no more than a second apart, a face is followed by where it is. From one stretch to
the next it may have moved: there, faces that look alike are one face.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.faces.tracking import colours
from media.squares import Box

# Of the faces seen in at least so large a part of the frames of the one seen longest, the largest is the main one.
_PERSISTENT = 0.8
# Least overlap of the mean colours of a person's crops. Of 17 real clips of faces, two runs of one clip had 0.56 to 1,
# and nine in ten pairs of runs of different clips less than 0.5.
_SAME_LOOK = 0.5


@dataclass(frozen=True)
class Seen:
    """A face in one frame.

    Attributes:
        track: which of the faces that were followed.
        stretch: of the clip, a number.
        box: x0, y0, x1, y1 in px of the frame.
        rgb: uint8 [S, S, 3], its crop.
    """

    track: int
    stretch: int
    box: Box
    rgb: NDArray[np.uint8]


def choose_main(faces: Sequence[Seen]) -> list[int]:
    """Choose the main face: the one seen longest, and in stretches in which it is not seen, the one seen longest there.

    Returns:
        Ascending positions in ``faces``, none of two tracks in one stretch.
    """
    chosen: list[int] = []
    left = list(range(len(faces)))
    while left:
        main = _longest([faces[position] for position in left])
        chosen += [position for position in left if faces[position].track == main]
        covered = {faces[position].stretch for position in chosen}
        left = [position for position in left if faces[position].stretch not in covered]
    return sorted(chosen)


def _longest(faces: Sequence[Seen]) -> int:
    """Return the track seen longest; of those that come near to it, the one whose face is largest."""
    areas: dict[int, list[float]] = defaultdict(list)
    for face in faces:
        areas[face.track].append((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
    least = _PERSISTENT * max(len(own) for own in areas.values())
    return max((track for track, own in areas.items() if len(own) >= least), key=lambda track: np.mean(areas[track]))


@dataclass
class _Person:
    looks: list[NDArray[np.float32]]  # of all crops
    stretches: set[int]

    def likeness(self, look: NDArray[np.float32]) -> float:
        """Return how much colours overlap with those of the person, 0..1."""
        return float(np.minimum(np.mean(self.looks, axis=0), look).sum())


def join_people(faces: Sequence[Seen]) -> Mapping[int, int]:
    """Join tracks that look alike and are never seen in the same stretch.

    Args:
        faces: in the order of time.

    Returns:
        For each track the number of a person, from 0 in the order in which they are first seen.
    """
    tracks: dict[int, list[Seen]] = defaultdict(list)
    for face in faces:
        tracks[face.track].append(face)
    if len(tracks) < 2:
        return dict.fromkeys(tracks, 0)
    people: list[_Person] = []
    numbers: dict[int, int] = {}
    for track, own in tracks.items():
        looks, stretches = [colours(face.rgb) for face in own], {face.stretch for face in own}
        likeness = {
            number: person.likeness(np.mean(looks, axis=0))
            for number, person in enumerate(people)
            if not person.stretches & stretches
        }
        number = max(likeness, key=likeness.__getitem__, default=-1)
        if number < 0 or likeness[number] < _SAME_LOOK:
            number = len(people)
            people.append(_Person([], set()))
        people[number].looks += looks
        people[number].stretches |= stretches
        numbers[track] = number
    return numbers
