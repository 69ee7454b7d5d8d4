import json
import time

import numpy as np
import pytest
from sklearn import metrics as sk

from bundle.regions.verdict import OperatingPoint
from judging.bootstrap import Bootstrap
from tasks.regions.metrics import oracle_metrics, pixel_metrics, region_metrics
from tasks.regions.statistics import BINS

POINT = OperatingPoint(threshold=0.5, min_area_fraction=0.0)
MASK = np.array([[1, 1, 0, 0]], bool)
EMPTY = np.zeros((1, 4), bool)


@pytest.fixture
def worked(collect):
    """Two forged and two authentic pictures of four pixels whose figures are easy to work out by hand."""
    return collect(
        [
            (1, MASK, [[0.9, 0.9, 0.1, 0.1]]),  # found exactly: F1 1, IoU 1
            (1, MASK, [[0.9, 0.1, 0.9, 0.1]]),  # TP 1, FP 1, FN 1: F1 1/2, IoU 1/3
            (0, EMPTY, [[0.1, 0.1, 0.1, 0.1]]),  # a correct empty mask
            (0, EMPTY, [[0.9, 0.1, 0.1, 0.1]]),  # one false pixel of four
        ],
        split="test",
        methods=["splice", "copy-move", "authentic", "authentic"],
    )


def test_hand_worked_figures(worked):
    metrics = region_metrics(worked, POINT)
    assert metrics["f1"] == pytest.approx(3 / 4)
    assert metrics["iou"] == pytest.approx(2 / 3)
    assert metrics["f1_pooled"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert metrics["iou_pooled"] == pytest.approx(3 / 5)
    assert metrics["authentic_fpr"] == 0.5
    assert metrics["authentic_fp_fraction"] == pytest.approx(1 / 8)
    assert metrics["forged_recall"] == 1
    assert metrics["counts"] == {"authentic": 2, "forged": 2}
    assert metrics["operating_point"] == {"threshold": 0.5, "min_area_fraction": 0.0}


def test_authentic_pictures_do_not_touch_f1(worked, collect):
    alone = region_metrics(worked.select(worked.label == 1), POINT)
    assert alone["f1"] == region_metrics(worked, POINT)["f1"]
    assert alone["authentic_fpr"] is None
    assert alone["undefined"]["authentic_fpr"] == "no authentic pictures"


def test_a_data_set_without_forgeries_has_null_localisation_with_a_reason(worked):
    metrics = region_metrics(worked.select(worked.label == 0), POINT, bootstrap=Bootstrap(resamples=50))
    for name in ("f1", "iou", "f1_pooled", "oracle_f1", "oracle_f1_per_image"):
        assert metrics[name] is None
        assert "no pictures with a forged region" in metrics["undefined"][name]
    assert metrics["pixel"]["auc"] is None
    assert metrics["image"]["auc"] is None
    assert metrics["authentic_fpr"] == 0.5
    assert metrics["strata"]["forged_area"] == {}


def test_the_oracle_is_never_below_the_fixed_threshold(collect, random_pictures):
    statistics = collect(random_pictures(8, 20))
    oracle = oracle_metrics(statistics)
    for threshold in (0.2, 0.4, 0.6):
        fixed = region_metrics(statistics, OperatingPoint(threshold=threshold, min_area_fraction=0.0))["f1"]
        assert fixed <= oracle["oracle_f1"] <= oracle["oracle_f1_per_image"]


def test_strata_by_area_method_and_compression(collect):
    wide = np.zeros((10, 30), bool)
    wide[:, :9] = True  # 30 %
    small = np.zeros((10, 30), bool)
    small[0, :2] = True  # 0.67 %
    empty = np.zeros((10, 30), bool)
    statistics = collect(
        [(1, wide, wide * 0.9), (1, small, small * 0.3), (0, empty, empty * 0.9)],
        methods=["splice", "removal", "authentic"],
    )
    strata = region_metrics(statistics, POINT)["strata"]
    assert {name: band["f1"] for name, band in strata["forged_area"].items()} == {"under 1 %": 0, "over 20 %": 1}
    assert strata["method"]["splice"]["forged_recall"] == 1
    assert strata["method"]["removal"]["forged_recall"] == 0
    assert strata["method"]["removal"]["counts"] == {"authentic": 1, "forged": 1}
    assert strata["method"]["removal"]["image"]["auc"] == 1
    assert strata["method"]["authentic"]["counts"] == {"authentic": 1, "forged": 0}
    assert strata["compression"]["png"]["counts"] == {"authentic": 1, "forged": 2}


def test_pixel_figures_equal_direct_ones_on_binned_probabilities(collect, random_pictures):
    pictures = random_pictures(2, 12)
    binned = [
        (label, mask, (np.minimum(np.floor(p * BINS), BINS - 1) + 0.5).astype(np.float32) / BINS)
        for label, mask, p in pictures
    ]
    found = pixel_metrics(collect(pictures))
    truth = np.concatenate([mask.ravel() for label, mask, _ in binned if label])
    scores = np.concatenate([p.ravel() for label, _, p in binned if label])
    assert found["auc"] == pytest.approx(sk.roc_auc_score(truth, scores))
    truth = np.concatenate([mask.ravel() for _, mask, _ in binned])
    scores = np.concatenate([p.ravel() for _, _, p in binned])
    gaps = [abs((scores[scores == v] - truth[scores == v]).sum()) for v in np.unique(scores)]
    assert found["ece"] == pytest.approx(sum(gaps) / len(scores), abs=1e-6)


def test_intervals_are_by_group_and_reproducible(collect, random_pictures):
    pictures = random_pictures(6, 40)
    groups = [f"g{i // 4}" for i in range(40)]
    grouped, alone = collect(pictures, groups=groups), collect(pictures)
    settings = Bootstrap(resamples=300, seed=5)
    first = region_metrics(grouped, POINT, bootstrap=settings)
    assert first["intervals"] == region_metrics(grouped, POINT, bootstrap=settings)["intervals"]
    assert first["intervals"] != region_metrics(alone, POINT, bootstrap=settings)["intervals"]
    low, high = first["intervals"]["f1"]
    assert low < first["f1"] < high


def test_metrics_are_plain_json(collect, random_pictures):
    metrics = region_metrics(collect(random_pictures(1, 8)), POINT, bootstrap=Bootstrap(resamples=20))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_thousand_resamples_of_all_figures_take_seconds(collect, random_pictures):
    statistics = collect(random_pictures(1, 300))
    start = time.perf_counter()
    region_metrics(statistics, POINT, bootstrap=Bootstrap(resamples=1000))
    assert time.perf_counter() - start < 20
