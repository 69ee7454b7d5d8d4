import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.regions.curves import oracle_f1, threshold_curves
from tasks.regions.statistics import BINS


@given(st.integers(0, 2**31), st.integers(0, BINS - 1), st.sampled_from((0.0, 0.01, 0.1)))
@settings(max_examples=40, deadline=None)
def test_every_curve_equals_the_counts_at_its_threshold(collect, random_pictures, seed, k, area):
    statistics = collect(random_pictures(seed, 6))
    (curves,) = threshold_curves(statistics, [area])
    counted = statistics.at(k / BINS, area)
    forged, authentic = statistics.label == 1, statistics.label == 0
    assert curves.f1[k] == pytest.approx(counted.f1[forged].mean())
    assert curves.iou[k] == pytest.approx(counted.iou[forged].mean())
    assert curves.pixel_recall[k] == pytest.approx((counted.tp[forged] / (counted.tp + counted.fn)[forged]).mean())
    assert curves.forged_recall[k] == pytest.approx(counted.verdict[forged].mean())
    assert curves.authentic_fpr[k] == pytest.approx(counted.verdict[authentic].mean())
    assert curves.authentic_fp_fraction[k] == pytest.approx((counted.fp / statistics.pixels)[authentic].mean())


def test_curves_do_not_depend_on_how_many_pictures_are_held_at_once(collect, random_pictures, monkeypatch):
    statistics = collect(random_pictures(1, 9))
    (whole,) = threshold_curves(statistics, [0.0])
    monkeypatch.setattr("tasks.regions.statistics.CHUNK", 2)
    (parts,) = threshold_curves(statistics, [0.0])
    np.testing.assert_allclose(parts.f1, whole.f1, rtol=1e-12)
    np.testing.assert_allclose(parts.authentic_fpr, whole.authentic_fpr, rtol=1e-12)


def test_curves_of_a_class_that_is_absent_are_undefined(collect):
    (curves,) = threshold_curves(collect([(0, np.zeros((2, 2), bool), np.full((2, 2), 0.3))]), [0.0])
    assert np.isnan(curves.f1).all()
    assert curves.authentic_fpr[100] == 1
    assert curves.authentic_fpr[400] == 0
    assert curves.to_json()["f1"][5] is None


def test_the_best_f1_of_each_picture_is_over_all_thresholds(collect):
    mask = np.array([[1, 1, 0, 0]], bool)
    statistics = collect([(1, mask, [[0.3, 0.2, 0.1, 0.0]]), (0, np.zeros((1, 2), bool), [[0.5, 0.5]])])
    curve, best = oracle_f1(statistics)
    assert curve[[100, 200, 250, 310]].tolist() == [0.8, 1, 2 / 3, 0]
    assert best[0] == 1
    assert np.isnan(best[1])
