import random
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.index import SampleIndex
from data.tracks import draw_window, find_tracks
from media.extraction import SampleSpec

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-1, 2), st.integers(0, 3), st.integers(0, 30)),
    unique=True,
    max_size=40,
)


def _index(rows: list[tuple[str, int, int, int]]) -> SampleIndex:
    media, tracks, runs, frames = zip(*rows, strict=True) if rows else ((), (), (), ())
    table = pa.table(
        {
            "media_id": pa.array(media, pa.string()),
            "track": pa.array(tracks, pa.int32()),
            "run": pa.array(runs, pa.int32()),
            "frame": pa.array(frames, pa.int32()),
        }
    )
    return SampleIndex(table, SampleSpec(), "shards", "0" * 64)


@settings(deadline=None)
@given(ROWS)
def test_every_row_is_in_one_track_with_the_others_of_its_face_in_the_order_of_time(rows):
    tracks = find_tracks(_index(rows))
    found = [[rows[row] for row in tracks.rows_of(number)] for number in range(len(tracks))]
    assert sorted(row for track in found for row in track) == sorted(rows)
    assert all(track == sorted(track) and len({row[:2] for row in track}) == 1 for track in found)
    keys = [track[0][:2] for track in found]
    assert keys == sorted(set(keys))
    assert tracks.lengths.tolist() == [len(track) for track in found]


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 15), st.integers(0, 2**63 - 1))
def test_what_is_drawn_lies_within_one_window_and_is_no_longer_than_a_clip(lengths, longest, seed):
    windows = [slice(end - length, end) for length, end in zip(lengths, accumulate(lengths), strict=True)]
    drawn = draw_window(windows, longest, random.Random(seed))
    (window,) = [one for one in windows if one.start <= drawn.start and drawn.stop <= one.stop]
    assert 1 <= drawn.stop - drawn.start <= min(longest, window.stop - window.start)


def test_every_length_and_every_frame_is_common():
    draw = random.Random(0)
    windows = [draw_window([slice(0, 8)], 5, draw) for _ in range(4000)]
    lengths = np.bincount([window.stop - window.start for window in windows], minlength=6)
    assert lengths[0] == 0 and min(lengths[1:]) > 700
    covered = np.zeros(8)
    for window in windows:
        covered[window] += 1
    assert covered.min() > 500


def test_longer_windows_are_drawn_from_more_often():
    draw = random.Random(0)
    drawn = [draw_window([slice(0, 1), slice(1, 9)], 8, draw) for _ in range(4000)]
    assert sum(one.start == 0 for one in drawn) / 4000 == pytest.approx(1 / 9, abs=0.02)
