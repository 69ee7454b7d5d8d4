from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.train.recipe import SamplingSettings
from components.train.sampling import EpochBatches, draw, sample_weights, steps_per_epoch
from core.errors import BadInputError
from data.index import SampleIndex
from data.tracks import find_tracks
from media.selfblend.settings import PseudoFakeSettings
from media.spec import PreprocessingSpec


def _index(fractions: list[float], labels: list[int]) -> SampleIndex:
    table = pa.table(
        {
            "sample_id": [f"s{number}" for number in range(len(labels))],
            "label": pa.array(labels, pa.int8()),
            "forged_fraction": fractions,
        }
    )
    return SampleIndex(table, PreprocessingSpec(), "shards", "0" * 64)


def test_weights_follow_the_forged_area_and_name_hard_negatives():
    index = _index([0.0, 0.0, 0.0099, 0.01, 0.0499, 0.05, 0.7, 1.0], [0, 0, 1, 1, 1, 1, 1, 1])
    weights = sample_weights(index, frozenset({"s1"}), SamplingSettings())
    assert weights.tolist() == [1, 5, 3, 2, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("fakes", "share"),
    [
        (None, 0.5),
        ({"probability": 0.2}, 0.625),
        ({"probability": 1 / 3}, 0.75),
        ({"probability": 0.4, "real_fakes": False}, 1.0),
    ],
)
def test_half_of_all_draws_stay_authentic_when_balanced(fakes, share):
    settings = SamplingSettings(balanced=True, pseudo_fakes=None if fakes is None else PseudoFakeSettings(**fakes))
    index = _index([0.0] * 7 + [1.0] * 3, [0] * 7 + [1] * 3)
    weights = sample_weights(index, frozenset({"s0"}), settings)
    assert weights.sum() == pytest.approx(1)
    assert weights[:7].sum() == pytest.approx(share)
    assert weights[0] == pytest.approx(5 * weights[1])  # balance keeps the proportions within a class
    if fakes is None or fakes.get("real_fakes", True):
        assert share * (1 - (fakes or {"probability": 0})["probability"]) == pytest.approx(0.5)


def test_real_fakes_are_never_drawn_where_pseudo_fakes_stand_for_them():
    settings = SamplingSettings(pseudo_fakes=PseudoFakeSettings(real_fakes=False))
    index = _index([0.0, 1.0, 0.0, 1.0], [0, 1, 0, 1])
    assert sample_weights(index, frozenset(), settings).tolist() == [1, 0, 1, 0]


def test_balancing_needs_both_classes():
    with pytest.raises(BadInputError, match="nothing manipulated can be drawn"):
        sample_weights(_index([0.0, 0.0], [0, 0]), frozenset(), SamplingSettings(balanced=True))


def test_a_track_weighs_what_its_heaviest_row_does():
    index = _index([0.0, 1.0, 0.0, 0.0, 0.005], [0, 1, 0, 0, 1])
    table = index.table.append_column("media_id", pa.array(["a", "b", "a", "c", "b"]))
    table = table.append_column("track", pa.array([0, 0, 0, 0, 1])).append_column("frame", pa.array([0, 0, 1, 0, 0]))
    index = SampleIndex(table, index.spec, index.shards, index.sha256)
    weights = sample_weights(index, frozenset({"s2"}), SamplingSettings(), find_tracks(index))
    assert weights.tolist() == [5, 1, 3, 1]  # a, both tracks of b, c


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(BadInputError, match="nothing to draw from"):
        sample_weights(_index([], []), frozenset(), SamplingSettings())
    with pytest.raises(BadInputError, match="2 train samples, all of weight 0"):
        sample_weights(_index([0.0, 0.0], [0, 0]), frozenset(), SamplingSettings(authentic=0))


def test_rows_are_drawn_in_proportion_to_their_weights_and_never_at_weight_zero():
    weights = np.array([0.0, 1.0, 3.0, 0.0, 6.0, 0.0])
    rows, _ = draw(weights, seed=3, epoch=0, count=50_000)
    counts = Counter(rows.tolist())
    assert set(counts) == {1, 2, 4}
    for row in counts:
        assert counts[row] / 50_000 == pytest.approx(weights[row] / 10, abs=0.01)


def test_a_draw_depends_on_seed_and_epoch_alone():
    weights = np.ones(1000)
    rows, seeds = draw(weights, 1, 2, 100)
    again, seeds_again = draw(weights, 1, 2, 100)
    assert rows.tolist() == again.tolist() and seeds.tolist() == seeds_again.tolist()
    for other in (draw(weights, 1, 3, 100), draw(weights, 2, 2, 100)):
        assert rows.tolist() != other[0].tolist()
        assert not set(seeds.tolist()) & set(other[1].tolist())
    assert len(set(seeds.tolist())) == 100
    assert seeds.min() >= 0


def _batches(world: int, rank: int, *, size: int, count: int, seed: int = 5) -> EpochBatches:
    return EpochBatches(np.arange(1.0, 40.0), seed=seed, batch_size=size, batches=count, rank=rank, world=world)


@given(
    world=st.integers(1, 6), share=st.integers(1, 4), count=st.integers(1, 8), epoch=st.integers(0, 9), data=st.data()
)
def test_several_processes_see_together_what_one_would_see(world, share, count, epoch, data):
    first = data.draw(st.integers(0, count))
    samplers = [_batches(world, rank, size=world * share, count=count) for rank in range(world)]
    alone = _batches(1, 0, size=world * share, count=count)
    for sampler in (*samplers, alone):
        sampler.start_at(epoch, first)
    parts = [list(sampler) for sampler in samplers]
    together = [[pair for part in parts for pair in part[batch]] for batch in range(count - first)]
    assert together == list(alone)
    assert all(len(batch) == share for part in parts for batch in part)


@given(count=st.integers(1, 20), data=st.data())
def test_a_later_start_sees_the_rest_of_what_an_undisturbed_epoch_sees(count, data):
    first = data.draw(st.integers(0, count))
    whole, rest = _batches(1, 0, size=3, count=count), _batches(1, 0, size=3, count=count)
    whole.start_at(4, 0)
    rest.start_at(4, first)
    assert list(whole)[first:] == list(rest)
    assert len(rest) == count - first


@given(samples=st.integers(1, 1000), size=st.integers(1, 32), accumulate=st.integers(1, 8))
def test_an_epoch_is_whole_steps_that_see_at_least_the_samples_asked_for(samples, size, accumulate):
    steps = steps_per_epoch(samples, size, accumulate)
    assert steps * size * accumulate >= samples
    assert (steps - 1) * size * accumulate < samples
