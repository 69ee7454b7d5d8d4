"""The windows of a track: of consecutive frames of one run each, and all frames among them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bundle.faces.windows import Place, WindowCutter, windows


@st.composite
def tracks(draw: st.DrawFn) -> tuple[list[Place], int]:
    """Runs of consecutive frames in some of which the face was not found, and the step from frame to frame."""
    step, places, frame = draw(st.integers(1, 3)), [], 0
    for run, found in enumerate(draw(st.lists(st.lists(st.booleans(), max_size=12), max_size=5))):
        places += [(run, frame + step * number) for number, here in enumerate(found) if here]
        # The next run may begin with the very next frame: it is another run all the same.
        frame += step * len(found) + draw(st.integers(0, 100))
    return places, step


@given(tracks(), st.integers(1, 10))
def test_every_frame_is_in_one_window_of_consecutive_frames_of_one_run(
    track: tuple[list[Place], int], longest: int
) -> None:
    places, step = track
    cut = [places[window] for window in windows(places, step, longest)]
    assert [place for window in cut for place in window] == places
    for window in cut:
        assert 1 <= len(window) <= longest
        assert len({run for run, _ in window}) == 1
        assert all(after - before == step for (_, before), (_, after) in pairwise(window))


@given(tracks(), st.integers(1, 10))
def test_windows_are_as_long_as_they_can_be(track: tuple[list[Place], int], longest: int) -> None:
    places, step = track
    for before, after in pairwise(windows(places, step, longest)):
        (run, frame), following = places[before.stop - 1], places[after.start]
        assert before.stop - before.start == longest or following != (run, frame + step)


@given(tracks(), st.integers(1, 10))
def test_windows_without_a_bound_are_those_that_bounded_ones_lie_in(
    track: tuple[list[Place], int], longest: int
) -> None:
    places, step = track
    whole = windows(places, step)
    assert all(
        any(one.start <= part.start and part.stop <= one.stop for one in whole)
        for part in windows(places, step, longest)
    )


def test_a_missed_face_and_a_new_run_begin_a_window() -> None:
    places = [(0, 0), (0, 1), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7)]
    assert windows(places, 1, 8) == [slice(0, 2), slice(2, 4), slice(4, 7)]
    assert windows(places, 1, 2) == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)]
    assert windows(places, 2, 8) == [slice(n, n + 1) if n != 1 else slice(1, 3) for n in (0, 1, 3, 4, 5, 6)]
    assert windows([], 1, 8) == []


def test_frame_by_frame_as_all_at_once() -> None:
    places = [(0, 0), (0, 1), (0, 2), (1, 9)]
    cutter = WindowCutter(1, 2)
    assert [cutter.begins(*place) for place in places] == [True, False, True, True]
