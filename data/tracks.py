"""Tracks: the rows of an index that show one face of one medium, run after run and in the order of time."""

import random
from collections.abc import Sequence
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


def draw_window(windows: Sequence[slice], longest: int, draw: random.Random) -> slice:
    """Draw some consecutive frames of a track to train on.

    The longer a window is, the more often it is drawn from. The length is drawn too, uniformly from 1 to ``longest`` or
    the whole window: the same network is asked about single pictures, about the short clips that are left at the end of
    a run and about full ones, so all of them must be common in training.

    Args:
        windows: of the track, of consecutive frames each, at least one.
        longest: the most frames to take, at least 1.
        draw: the source of chance.

    Returns:
        A slice of 1 to ``longest`` frames within one of the windows.
    """
    lengths = [window.stop - window.start for window in windows]
    (number,) = draw.choices(range(len(windows)), lengths)
    length = draw.randint(1, min(lengths[number], longest))
    start = windows[number].start + draw.randint(0, lengths[number] - length)
    return slice(start, start + length)
