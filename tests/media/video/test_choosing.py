import itertools

from hypothesis import given
from hypothesis import strategies as st

from media.extraction import ClipFrames, EvenFrames, KeyFrames
from media.video import choose_frames


@given(st.integers(1, 200), st.integers(1, 5000))
def test_even_frames_reach_from_the_first_to_the_last(asked: int, count: int) -> None:
    numbers = [number for number, _ in choose_frames(EvenFrames(count=asked), count)]
    assert len(numbers) == len(set(numbers)) == min(asked, count)
    assert numbers == sorted(numbers)
    if len(numbers) > 1:
        gaps = [after - before for before, after in itertools.pairwise(numbers)]
        assert (numbers[0], numbers[-1]) == (0, count - 1)
        assert max(gaps) - min(gaps) <= 1
    else:
        assert numbers == [(count - 1) // 2]


@given(st.integers(1, 60), st.lists(st.integers(0, 5000), min_size=1, max_size=80, unique=True).map(sorted))
def test_key_frames_are_spread_evenly_over_those_there_are(asked: int, keys: list[int]) -> None:
    chosen = [number for number, run in choose_frames(KeyFrames(count=asked), 5001, keys) if run == 0]
    positions = [keys.index(number) for number in chosen]
    assert positions == [number for number, _ in choose_frames(EvenFrames(count=asked), len(keys))]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.integers(1, 3000))
def test_runs_are_whole_and_never_overlap(clips: int, length: int, stride: int, count: int) -> None:
    chosen = choose_frames(ClipFrames(clips=clips, length=length, stride=stride), count)
    numbers = [number for number, _ in chosen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < count
    runs = [[number for number, of in chosen if of == run] for run in range(chosen[-1][1] + 1)]
    span = (length - 1) * stride + 1
    assert len(runs) == max(1, min(clips, count // span))
    for run in runs:
        assert len(run) == length or count < span
        assert all(after - before == stride for before, after in itertools.pairwise(run))
    if len(runs) > 1:
        assert (runs[0][0], runs[-1][-1]) == (0, count - 1)
