import time

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bundle.regions.verdict import OperatingPoint, decide, forged_mask, image_score, regions, required_pixels
from core.errors import BadInputError, SettingsError
from core.settings import validate

unit = st.floats(0, 1, width=32)
maps = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=unit)


@given(maps, st.floats(0, 1), st.floats(0, 1))
@example(np.full((10, 10), np.float32(0.7)), 0.7, 0.07)
@example(np.eye(10, dtype=np.float32), 0.5, 0.1)
@settings(max_examples=500, deadline=None)
def test_the_score_reaches_the_threshold_exactly_when_the_forged_area_is_large_enough(probability, threshold, fraction):
    verdict = decide(probability, OperatingPoint(threshold=threshold, min_area_fraction=fraction))
    count = int((probability.astype(np.float64) >= threshold).sum())
    enough = count >= 1 and count / probability.size >= fraction
    assert (verdict.score >= threshold) == verdict.forged == enough
    marked = count if enough else 0  # a picture called authentic has nothing marked
    assert int(verdict.mask.sum()) == marked
    assert verdict.forged_fraction == marked / probability.size


@given(maps, unit, st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_threshold_that_equals_a_probability_counts_it(probability, threshold, fraction):
    probability = probability.copy()
    probability.flat[0] = threshold
    point = OperatingPoint(threshold=threshold, min_area_fraction=fraction)
    mask = forged_mask(probability, threshold)
    assert mask.flat[0]
    assert decide(probability, point).forged == (mask.sum() / probability.size >= fraction)


@given(st.integers(1, 5000), st.floats(0, 1))
@example(100, 0.07)
@example(100, 0.29)
@settings(max_examples=500, deadline=None)
def test_the_pixels_asked_for_are_the_fewest_that_make_the_fraction(pixels, fraction):
    count = required_pixels(pixels, fraction)
    assert 1 <= count <= pixels
    assert count / pixels >= fraction
    assert count == 1 or (count - 1) / pixels < fraction


def test_the_score_is_the_kth_largest_probability():
    probability = np.arange(100, dtype=np.float32).reshape(10, 10) / 100
    assert image_score(probability, 0.05) == pytest.approx(0.95)
    assert image_score(probability, 0.0) == pytest.approx(0.99)
    assert image_score(probability, 1.0) == 0


def test_a_map_that_is_not_contiguous_is_judged_alike():
    probability = np.random.default_rng(0).random((30, 40), dtype=np.float32)
    point = OperatingPoint(threshold=0.9, min_area_fraction=0.05)
    assert decide(probability[:, ::2].T, point).score == decide(probability[:, ::2].copy(), point).score


def test_a_map_with_nan_is_never_authentic():
    probability = np.zeros((50, 50), dtype=np.float32)
    probability[3, 4] = np.nan
    with pytest.raises(BadInputError, match="NaN"):
        decide(probability, OperatingPoint(threshold=0.5, min_area_fraction=0.01))


def test_a_wrong_operating_point_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"threshold = 1\.5"):
        validate(OperatingPoint, {"threshold": 1.5, "min_area_fraction": 0}, "recipe")


def _scene():
    probability = np.full((100, 120), 0.1, dtype=np.float32)
    probability[10:30, 20:50] = 0.8  # 600 px
    probability[15:20, 30:35] = 0.2  # a hole of 25
    probability[60:70, 60:110] = 0.95  # 500 px
    probability[90, 5] = 0.6  # a dot
    return probability


def test_regions_are_found_with_their_figures_largest_and_surest_first():
    found = regions(_scene(), _scene() >= 0.5)
    assert [region.box for region in found] == [(60, 60, 110, 70), (20, 10, 50, 30), (5, 90, 6, 91)]
    assert found[0].score == pytest.approx(0.95)
    assert found[0].area_fraction == 500 / 12000
    assert found[1].score == pytest.approx(0.8)
    assert found[1].area_fraction == 575 / 12000
    assert sorted(found[0].polygon) == [(60, 60), (60, 69), (109, 60), (109, 69)]


def test_only_so_many_regions_are_returned_as_asked_for():
    found = regions(_scene(), _scene() >= 0.5, limit=1)
    assert [region.box for region in found] == [(60, 60, 110, 70)]


@given(maps, st.floats(0.01, 1))
@settings(max_examples=300, deadline=None)
def test_regions_hold_every_forged_pixel_once_and_their_polygons_can_be_drawn(probability, threshold):
    mask = forged_mask(probability, threshold)
    found = regions(probability, mask, limit=1000)
    assert sum(region.area_fraction for region in found) == pytest.approx(mask.mean())
    for region in found:
        assert len(region.polygon) >= 3
        assert threshold <= region.score + 1e-6
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= mask.shape[1]
        assert 0 <= y0 < y1 <= mask.shape[0]


def test_a_round_region_is_outlined_closely_with_few_corners():
    disc = np.zeros((200, 200), dtype=np.uint8)
    cv2.circle(disc, (100, 90), 60, color=1, thickness=cv2.FILLED)
    (region,) = regions(disc.astype(np.float32), disc > 0)
    drawn = np.zeros_like(disc)
    cv2.fillPoly(drawn, [np.array(region.polygon)], color=1)
    assert len(region.polygon) < 40
    assert (drawn & disc).sum() / (drawn | disc).sum() > 0.97


def test_nothing_forged_has_no_regions():
    assert regions(np.zeros((20, 20), dtype=np.float32), np.zeros((20, 20), dtype=bool)) == []


@given(maps, st.floats(0.1, 0.9), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_the_regions_up_to_a_limit_are_the_first_of_all(probability, threshold, limit):
    mask = forged_mask(probability, threshold)
    weights = [region.area_fraction * region.score for region in regions(probability, mask)]
    assert weights == sorted(weights, reverse=True)
    limited = [region.area_fraction * region.score for region in regions(probability, mask, limit)]
    assert limited == pytest.approx(weights[:limit])


def test_only_the_regions_that_are_returned_take_time():
    probability = np.random.default_rng(0).random((800, 800), dtype=np.float32)
    mask = forged_mask(probability, 0.7)
    times = [time.perf_counter()]
    for limit in (100, mask.size):
        regions(probability, mask, limit)
        times.append(time.perf_counter())
    assert times[1] - times[0] < (times[2] - times[1]) / 3
