import numpy as np
import pytest

from bundle.regions.verdict import OperatingPoint
from core.errors import MismatchError
from judging.bootstrap import Bootstrap
from judging.guard import SplitLeakError
from tasks.regions.comparison import fpr_at_equal_recall, paired_differences, threshold_at_recall

HALF = OperatingPoint(threshold=0.5, min_area_fraction=0.0)
MASK = np.array([[1, 1, 0, 0]], bool)
EMPTY = np.zeros((1, 4), bool)
QUICK = Bootstrap(resamples=200)


def _forged(*values):
    return (1, MASK, np.array([values], np.float32))


def _authentic(value):
    return (0, EMPTY, np.array([[value, 0, 0, 0]], np.float32))


def test_differences_are_second_minus_first_at_each_ones_point(collect):
    first = collect([_forged(0.9, 0.1, 0.1, 0.1), _authentic(0.6)], split="test")
    second = collect([_forged(0.4, 0.4, 0.1, 0.1), _authentic(0.2)], split="test")
    low = OperatingPoint(threshold=0.25, min_area_fraction=0.0)
    found = paired_differences(first, HALF, second, low, QUICK)
    assert found["f1"]["first"] == pytest.approx(2 / 3)
    assert found["f1"]["second"] == 1
    assert found["f1"]["difference"] == pytest.approx(1 / 3)
    assert found["authentic_fpr"]["difference"] == -1
    assert found["pixel_recall"]["difference"] == pytest.approx(0.5)


def test_what_is_hard_for_both_does_not_widen_the_interval(collect):
    generator = np.random.default_rng(0)
    hard = generator.random(60)  # each picture is as hard for one model as for the other
    first = collect([_forged(v, v, 1 - v, 0.0) for v in hard], split="test")
    same = paired_differences(first, HALF, first, HALF, QUICK)
    assert same["f1"]["interval"] == [0, 0]
    other = collect([_forged(v, v, 1 - v, 0.0) for v in generator.permutation(hard)], split="test")
    low, high = paired_differences(first, HALF, other, HALF, QUICK)["f1"]["interval"]
    assert high - low > 0.1


def test_undefined_differences_are_null(collect):
    only = collect([_authentic(0.6), _authentic(0.1)], split="test")
    found = paired_differences(only, HALF, only, HALF, QUICK)
    assert found["f1"] == {"first": None, "second": None, "difference": None, "interval": None}
    assert found["authentic_fpr"]["difference"] == 0


def test_other_pictures_cannot_be_paired(collect):
    first = collect([_authentic(0.1), _authentic(0.2)])
    with pytest.raises(MismatchError, match="different pictures"):
        paired_differences(first, HALF, first.select(np.array([1, 0])), HALF, QUICK)


@pytest.mark.parametrize(
    ("kind", "recall", "expected"),
    [
        ("image", 1.0, 0.25),  # both pictures are called forged up to the lower of their maxima
        ("image", 0.5, 0.75),
        ("image", 0.3, 0.75),  # recall moves in steps; the next above is taken
        ("pixel", 0.5, 0.25),  # one pixel of two in each
        ("pixel", 1.0, 0.125),
    ],
)
def test_the_highest_threshold_that_reaches_a_recall_is_taken(collect, kind, recall, expected):
    val = collect([_forged(0.75, 0.125, 0, 0), _forged(0.25, 0.25, 0, 0), _authentic(0.5)])
    if kind == "pixel" and recall == 0.5:
        # At 0.25 the regions are found by 1/2 and 1: mean 3/4. Above it by 1/2 and 0.
        assert threshold_at_recall(val, kind, 0.75, 0.0) == (0.25, 0.75)
    threshold, reached = threshold_at_recall(val, kind, recall, 0.0)
    assert threshold == expected
    assert reached >= recall


def test_a_recall_that_is_not_reached_has_no_threshold(collect):
    val = collect([_forged(0.75, 0, 0, 0), _authentic(0.5)])
    assert threshold_at_recall(val, "pixel", 0.9, 0.0) == (None, 0.5)


def test_the_threshold_of_a_recall_is_chosen_on_val_alone(collect):
    with pytest.raises(SplitLeakError, match="of test"):
        threshold_at_recall(collect([_forged(1, 1, 0, 0)], split="test"), "image", 0.5, 0.0)


def _equal(collect, recall, **changes):
    # On val, v3 must go down to 0.25 to find every forgery and v4 only to 0.5.
    val = {"v3": collect([_forged(0.25, 0, 0, 0)]), "v4": collect([_forged(0.5, 0, 0, 0)])}
    authentic = [0.3, 0.3, 0.6, 0.1]
    test = {
        name: collect([_forged(1, 1, 0, 0), *(_authentic(v) for v in authentic)], split="test") for name in ("v3", "v4")
    }
    options = {"kind": "image", "recall": recall, "min_area_fraction": 0.0, "bootstrap": QUICK} | changes
    return fpr_at_equal_recall(val, test, **options)


def test_false_positives_are_measured_on_test_where_both_reach_the_recall_on_val(collect):
    result = _equal(collect, 1.0)
    assert result["models"]["v3"] == {"threshold": 0.25, "val_recall": 1}
    assert result["models"]["v4"] == {"threshold": 0.5, "val_recall": 1}
    fpr = result["differences"]["authentic_fpr"]
    assert (fpr["first"], fpr["second"], fpr["difference"]) == (0.75, 0.25, -0.5)
    low, high = fpr["interval"]
    assert -1 <= low < -0.5 < high <= 0
    assert result["reason"] is None


def test_a_recall_out_of_reach_is_stated(collect):
    result = _equal(collect, 0.9, kind="pixel")
    assert result["differences"] is None
    assert result["reason"] == (
        "pixel recall 0.900 is not reached on val: v3 reaches 0.500 at most; v4 reaches 0.500 at most"
    )


def test_no_choosing_function_takes_test_statistics_for_val(collect):
    test = collect([_forged(1, 1, 0, 0), _authentic(0)], split="test")
    with pytest.raises(SplitLeakError):
        fpr_at_equal_recall(
            {"a": test, "b": test},
            {"a": test, "b": test},
            kind="image",
            recall=0.5,
            min_area_fraction=0.0,
            bootstrap=QUICK,
        )
