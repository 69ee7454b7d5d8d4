from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from bundle.regions.verdict import OperatingPoint, decide
from core.errors import MismatchError, VeriframeError
from judging.bootstrap import Bootstrap
from tasks.regions.metrics import region_metrics
from tasks.regions.prediction import Prediction
from tasks.regions.settings import MIN_AREAS
from tasks.regions.statistics import BINS, PixelStatistics, bin_of, collect_statistics, histogram

seeds = st.integers(0, 2**31)
areas = st.sampled_from((*MIN_AREAS, 0.1, 0.37))


@given(seeds, st.integers(1, BINS - 1), areas)
@settings(max_examples=60, deadline=None)
def test_counts_at_a_grid_threshold_equal_direct_counts(collect, random_pictures, seed, k, area):
    pictures = random_pictures(seed, 5)
    counted = collect(pictures).at(k / BINS, area)
    for number, (_, mask, probabilities) in enumerate(pictures):
        verdict = decide(probabilities, OperatingPoint(threshold=k / BINS, min_area_fraction=area))
        found = verdict.mask if verdict.forged else np.zeros_like(mask)
        assert counted.verdict[number] == verdict.forged
        assert counted.tp[number] == (found & mask).sum()
        assert counted.fp[number] == (found & ~mask).sum()
        assert counted.fn[number] == (~found & mask).sum()


@given(seeds, areas)
@settings(max_examples=60, deadline=None)
def test_image_scores_are_exact_for_kept_areas_and_rounded_down_for_others(collect, random_pictures, seed, area):
    pictures = random_pictures(seed, 5)
    scores = collect(pictures).image_scores(area)
    exact = [decide(p, OperatingPoint(threshold=0.5, min_area_fraction=area)).score for _, _, p in pictures]
    if area in MIN_AREAS:
        assert_array_equal(scores, exact)
    else:
        assert_array_equal(scores, np.minimum(np.floor(np.array(exact) * BINS), BINS - 1) / BINS)


def test_f1_and_iou_of_a_hand_worked_picture(collect):
    mask = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
    probabilities = np.array([[0.9, 0.6, 0.2, 0.7], [0.1, 0.1, 0.1, 0.1]])
    counted = collect([(1, mask, probabilities)]).at(0.5, 0.0)
    assert (counted.tp[0], counted.fp[0], counted.fn[0]) == (2, 1, 1)
    assert counted.f1[0] == pytest.approx(2 / 3)  # 2·2 / (2·2 + 1 + 1)
    assert counted.iou[0] == pytest.approx(1 / 2)  # 2 / (2 + 1 + 1)


def test_a_picture_below_the_minimum_area_has_an_empty_mask(collect):
    mask = np.array([[1, 1, 0, 0]], bool)
    statistics = collect([(1, mask, [[0.9, 0.1, 0.1, 0.1]])])
    assert statistics.at(0.5, 0.25).f1[0] == pytest.approx(2 / 3)
    below = statistics.at(0.5, 0.5)
    assert not below.verdict[0]
    assert (below.tp[0], below.fp[0], below.fn[0]) == (0, 0, 2)
    assert below.f1[0] == 0


def test_a_correct_empty_mask_has_no_f1(collect):
    counted = collect([(0, np.zeros((2, 2), bool), np.zeros((2, 2)))]).at(0.5, 0.0)
    assert np.isnan(counted.f1[0])
    assert np.isnan(counted.iou[0])


def test_a_threshold_between_grid_points_acts_as_the_upper_one():
    assert bin_of(0.5) == 512
    assert bin_of(0.5001) == 513
    assert bin_of(0.0) == 0
    assert bin_of(1.0) == BINS


def test_certainty_falls_into_the_last_bin():
    counts = histogram(np.array([0.0, 1.0, np.nextafter(np.float32(1), np.float32(0))], np.float32))
    assert counts[0] == 1
    assert counts[-1] == 2


def test_output_that_is_not_finite_names_the_sample(collect):
    with pytest.raises(VeriframeError, match="s0 is not finite"):
        collect([(0, np.zeros((1, 2), bool), [[0.5, np.nan]])])


def test_selecting_keeps_pictures_and_their_columns_together(collect, random_pictures):
    statistics = collect(random_pictures(5, 6))
    chosen = statistics.select(statistics.label == 1)
    assert list(chosen.column("sample_id")) == ["s1", "s3", "s5"]
    assert_array_equal(chosen.at(0.5, 0.0).tp, statistics.at(0.5, 0.0).tp[[1, 3, 5]])


def test_statistics_of_no_pictures_are_empty(collect):
    empty = collect([])
    assert len(empty) == 0
    assert empty.image_scores(0.37).shape == (0,)
    assert empty.at(0.5, 0.0).tp.shape == (0,)


def test_statistics_are_collected_by_name_in_one_pass_and_every_picture_is_shown():
    def prediction(number: int) -> Prediction:
        row = {
            "sample_id": f"s{number}", "media_id": f"m{number}", "group_id": "g", "method": "m", "compression": "png",
            "label": 1, "label_name": "forged", "split": "val",
        }  # fmt: skip
        maps = {name: np.full((2, 2), value, np.float32) for name, value in (("a", 0.2), ("b", 0.8))}
        return Prediction(row, np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool), maps)

    seen = []
    found = collect_statistics((prediction(number) for number in range(3)), ["a", "b"], [0.0], seen.append)
    assert list(found["a"].at(0.5, 0.0).tp) == [0, 0, 0]
    assert list(found["b"].at(0.5, 0.0).tp) == [4, 4, 4]
    assert [one.row["sample_id"] for one in seen] == ["s0", "s1", "s2"]


@given(seeds, st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_parts_saved_and_joined_give_what_one_pass_gives(collect, random_pictures, seed, cut):
    pictures = random_pictures(seed, 7)
    groups = [f"g{number // 2}" for number in range(7)]
    whole = collect(pictures, groups=groups)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("first", "second")]
        for path, rows in zip(paths, (slice(cut), slice(cut, None)), strict=True):
            whole.select(np.arange(7)[rows]).save(path)
        joined = PixelStatistics.concatenate([PixelStatistics.load(path) for path in paths])
        assert joined.table.equals(whole.table)
        point = OperatingPoint(threshold=0.5, min_area_fraction=0.01)
        quick = Bootstrap(resamples=20)
        assert region_metrics(joined, point, bootstrap=quick) == region_metrics(whole, point, bootstrap=quick)


def test_parts_for_other_minimum_areas_do_not_join(collect, random_pictures):
    pictures = random_pictures(1, 4)
    with pytest.raises(MismatchError, match="differ in what they keep"):
        PixelStatistics.concatenate([collect(pictures), collect(pictures, min_areas=(0.0, 0.3))])


def test_a_picture_takes_a_fraction_of_its_histograms(collect):
    generator = np.random.default_rng(0)
    mask = generator.random((256, 256)) < 0.3
    noise = generator.normal(size=mask.shape)
    probabilities = 1 / (1 + np.exp(-(noise + 6 * mask - 3)))  # every bin is filled
    statistics = collect([(1, mask, probabilities)] * 8)
    assert statistics.table.column("histograms").nbytes < 8 * 2 * BINS * 4 / 3
