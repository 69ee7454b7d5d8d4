import numpy as np
import pytest

from judging.bootstrap import Bootstrap, Groups, group_weights, intervals


def _interval(values, groups, settings):
    """The interval of the mean of values [N] in groups [N]."""
    unit = Groups.of(groups)
    totals, counts = unit.sums(values), unit.sums(np.ones(len(values)))
    return intervals(lambda weights: {"mean": (weights @ totals) / (weights @ counts)}, unit, settings)["mean"]


def test_groups_are_numbered_in_the_order_of_their_names_and_added_up():
    groups = Groups.of(np.array(["b", "a", "b", "c"]))
    assert groups.codes.tolist() == [1, 0, 1, 2]
    assert groups.sums(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [2, 4, 4]
    assert Groups.of(np.array([7, 3, 7, 9])).codes.tolist() == [1, 0, 1, 2]


def test_as_many_groups_are_drawn_as_there_are():
    weights = np.concatenate(list(group_weights(3, Bootstrap(resamples=200))))
    assert weights.shape == (200, 3)
    np.testing.assert_array_equal(weights.sum(axis=1), 3)
    assert len(np.unique(weights, axis=0)) > 3


def test_chunks_hold_all_resamples_and_the_seed_decides(monkeypatch):
    whole = np.concatenate(list(group_weights(10, Bootstrap(resamples=50, seed=1))))
    monkeypatch.setattr("judging.bootstrap.CHUNK_VALUES", 70)
    parts = list(group_weights(10, Bootstrap(resamples=50, seed=1)))
    assert [len(part) for part in parts] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(np.concatenate(list(group_weights(10, Bootstrap(resamples=50, seed=2)))), whole)


def test_the_interval_of_a_mean_is_that_of_theory():
    generator = np.random.default_rng(0)
    values = generator.normal(size=2000)
    groups = np.arange(2000).astype(str)
    low, high = _interval(values, groups, Bootstrap(resamples=2000))
    error = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - error, abs=0.006)
    assert high == pytest.approx(values.mean() + error, abs=0.006)


def test_pictures_of_one_group_widen_the_interval():
    values = np.repeat(np.random.default_rng(1).normal(size=30), 10)
    alone = _interval(values, np.arange(300).astype(str), Bootstrap())
    grouped = _interval(values, np.repeat(np.arange(30), 10).astype(str), Bootstrap())
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


def test_one_group_has_no_interval_nor_have_zero_resamples():
    def figures(weights):
        return {"total": weights.sum(axis=1)}

    assert intervals(figures, Groups.of(np.array(["a"] * 4)), Bootstrap()) == {}
    assert intervals(figures, Groups.of(np.array(["a", "b", "c", "d"])), Bootstrap(resamples=0)) == {}


def test_resamples_without_a_value_are_left_out_and_mostly_undefined_figures_have_no_interval():
    def figures(weights):
        some, most = np.full(len(weights), 2.0), np.full(len(weights), 2.0)
        some[::3], most[::3], most[1::3] = np.nan, np.nan, np.nan
        return {"some": some, "most": most}

    assert intervals(figures, Groups.of(np.array(["a", "b"])), Bootstrap(resamples=99)) == {"some": (2.0, 2.0)}
