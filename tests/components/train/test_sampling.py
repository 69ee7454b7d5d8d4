from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.train.sampling import EpochBatches, draw, steps_per_epoch


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
