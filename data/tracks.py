"""Tracks: the rows of an index that show one face of one medium, run after run and in the order of time."""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.index import SampleIndex


@dataclass(frozen=True)
class Tracks:
    """The tracks of an index, ordered by medium and track number.

    Attributes:
        rows: int64 [N], all rows of the index: track after track, in each run after run, in each frame after frame.
        starts: int64 [T], where each track begins in ``rows``.
        lengths: int64 [T], how many rows each track has, at least 1.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def rows_of(self, track: int) -> NDArray[np.int64]:
        """Return the rows of one track in the order of time, int64 [its length]."""
        start = self.starts[track]
        return self.rows[start : start + self.lengths[track]]


def find_tracks(index: SampleIndex) -> Tracks:
    """Find the tracks of an index: rows that agree in ``media_id`` and ``track``, ordered by ``run`` and ``frame``.

    What is not tracked (``track`` -1) counts as the one face of its medium, so that a still is a track of one frame.
    """
    media = np.unique(index.column("media_id").astype("S"), return_inverse=True)[1]
    track = index.column("track")
    rows = np.lexsort([index.column("frame"), index.column("run"), track, media]).astype(np.int64)
    changes = (np.diff(media[rows]) != 0) | (np.diff(track[rows]) != 0)
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(rows)), dtype=bool), changes])).astype(np.int64)
    return Tracks(rows, starts, np.diff(starts, append=len(rows)).astype(np.int64))


def draw_window(count: int, longest: int, draw: random.Random) -> slice:
    """Draw some consecutive frames of a track to train on.

    The length is drawn too, uniformly from 1 to ``longest`` or the whole track: the same network is asked about single
    pictures, about the short clips that are left at a track's end and about full ones, so all of them must be common
    in training.

    Args:
        count: frames of the track, at least 1.
        longest: the most frames to take, at least 1.
        draw: the source of chance.

    Returns:
        A slice of 1 to ``min(count, longest)`` frames within the track.
    """
    length = draw.randint(1, min(count, longest))
    start = draw.randint(0, count - length)
    return slice(start, start + length)
