import time

import numpy as np
import pytest

from judging.bootstrap import Bootstrap, group_weights, intervals


def _mean(values):
    return lambda weights: {"mean": (weights @ values) / weights.sum(axis=1)}


def test_whole_groups_are_drawn(monkeypatch):
    groups = np.array(["a", "b", "a", "c", "b"])
    (weights,) = group_weights(groups, Bootstrap(resamples=200))
    assert weights.shape == (200, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 1] + weights[:, 3], 3)
    assert len(np.unique(weights, axis=0)) > 3


def test_chunks_hold_all_resamples_and_the_seed_decides(monkeypatch):
    groups = np.array([f"g{i}" for i in range(10)])
    whole = np.concatenate(list(group_weights(groups, Bootstrap(resamples=50, seed=1))))
    monkeypatch.setattr("judging.bootstrap.CHUNK_VALUES", 70)
    parts = list(group_weights(groups, Bootstrap(resamples=50, seed=1)))
    assert [len(part) for part in parts] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(np.concatenate(list(group_weights(groups, Bootstrap(resamples=50, seed=2)))), whole)


def test_the_interval_of_a_mean_is_that_of_theory():
    generator = np.random.default_rng(0)
    values = generator.normal(size=2000)
    groups = np.arange(2000).astype(str)
    low, high = intervals(_mean(values), groups, Bootstrap(resamples=2000))["mean"]
    error = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - error, abs=0.006)
    assert high == pytest.approx(values.mean() + error, abs=0.006)


def test_pictures_of_one_group_widen_the_interval():
    values = np.repeat(np.random.default_rng(1).normal(size=30), 10)
    alone = intervals(_mean(values), np.arange(300).astype(str), Bootstrap())["mean"]
    grouped = intervals(_mean(values), np.repeat(np.arange(30), 10).astype(str), Bootstrap())["mean"]
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


def test_one_group_has_no_interval_nor_have_zero_resamples():
    values = np.arange(4.0)
    assert intervals(_mean(values), np.array(["a"] * 4), Bootstrap()) == {}
    assert intervals(_mean(values), np.array(["a", "b", "c", "d"]), Bootstrap(resamples=0)) == {}


def test_resamples_without_a_value_are_left_out_and_mostly_undefined_figures_have_no_interval():
    def figures(weights):
        some, most = np.full(len(weights), 2.0), np.full(len(weights), 2.0)
        some[::3], most[1:] = np.nan, np.nan
        return {"some": some, "most": most}

    assert intervals(figures, np.array(["a", "b"]), Bootstrap(resamples=99)) == {"some": (2.0, 2.0)}


def test_a_thousand_resamples_of_many_pictures_are_quick():
    count = 5000
    start = time.perf_counter()
    intervals(_mean(np.arange(float(count))), np.arange(count).astype(str), Bootstrap())
    assert time.perf_counter() - start < 10
