import numpy as np
import pytest

from core.errors import BadInputError
from judging.guard import SplitLeakError
from tasks.regions.operating_point import choose_operating_point, keep_operating_point, point_of
from tasks.regions.statistics import BINS

FORGED = np.array([[1] * 5 + [0] * 5], bool)
AUTHENTIC = np.zeros((1, 10), bool)


def _forged(inside: float, outside: float) -> tuple[int, np.ndarray, np.ndarray]:
    return (1, FORGED, np.where(FORGED, inside, outside))


def _authentic(*values: float) -> tuple[int, np.ndarray, np.ndarray]:
    return (0, AUTHENTIC, np.array([[*values, *[0.0] * (10 - len(values))]]))


def test_the_highest_f1_under_the_ceiling_is_chosen(collect):
    # One authentic picture reaches 0.7: the F1 of 1 that lies at or below it costs a false positive.
    statistics = collect([_forged(0.6, 0.1), _forged(0.9, 0.1), _authentic(0.7), _authentic(0.1)])
    free = choose_operating_point(statistics, max_authentic_fpr=0.5, min_areas=[0.0])
    assert free.meets_ceiling
    assert free.figures["f1"] == 1
    assert 0.1 < point_of(free).threshold <= 0.6
    strict = choose_operating_point(statistics, max_authentic_fpr=0.0, min_areas=[0.0])
    assert strict.meets_ceiling
    assert strict.figures["authentic_fpr"] == 0
    assert 0.7 < point_of(strict).threshold <= 0.9
    assert strict.figures["f1"] == pytest.approx(0.5)  # one of the two is missed


def test_a_minimum_area_removes_specks_that_no_threshold_removes(collect):
    statistics = collect([_forged(0.6, 0.1), _authentic(0.95), _authentic(0.1)])
    choice = choose_operating_point(statistics, max_authentic_fpr=0.0, min_areas=[0.0, 0.2])
    assert point_of(choice).min_area_fraction == 0.2
    assert choice.figures["f1"] == 1


def test_when_nothing_is_under_the_ceiling_the_lowest_rate_is_taken_and_said(collect):
    statistics = collect([_forged(0.9, 0.1), _authentic(1.0), _authentic(0.3)])
    choice = choose_operating_point(statistics, max_authentic_fpr=0.1, min_areas=[0.0])
    assert not choice.meets_ceiling
    assert choice.figures["authentic_fpr"] == 0.5
    assert choice.figures["f1"] == 1
    assert "no point on val is under the ceiling of 0.100" in choice.note


def test_ties_go_to_the_threshold_nearest_to_one_half_and_the_smaller_area(collect):
    statistics = collect([_forged(0.9, 0.1), _authentic(0.1)])
    choice = choose_operating_point(statistics, max_authentic_fpr=0.0, min_areas=[0.2, 0.0])
    assert point_of(choice).threshold == 0.5
    assert point_of(choice).min_area_fraction == 0


def test_the_chosen_point_lies_on_the_grid_and_gives_the_figures_reported(collect, random_pictures):
    statistics = collect(random_pictures(11, 20))
    choice = choose_operating_point(statistics, max_authentic_fpr=0.4)
    counted = statistics.at(point_of(choice).threshold, point_of(choice).min_area_fraction)
    assert (point_of(choice).threshold * BINS).is_integer()
    assert choice.figures["f1"] == pytest.approx(counted.f1[statistics.label == 1].mean())
    assert choice.figures["authentic_fpr"] == pytest.approx(counted.verdict[statistics.label == 0].mean())


def test_the_choice_equals_an_exhaustive_search(collect, random_pictures):
    statistics = collect(random_pictures(4, 12))
    min_areas = (0.0, 0.05, 0.2)
    best = 0.0
    for k in range(1, BINS):
        for area in min_areas:
            counted = statistics.at(k / BINS, area)
            if counted.verdict[statistics.label == 0].mean() <= 0.34:
                best = max(best, counted.f1[statistics.label == 1].mean())
    choice = choose_operating_point(statistics, max_authentic_fpr=0.34, min_areas=min_areas)
    assert choice.figures["f1"] == pytest.approx(best)


@pytest.mark.parametrize("split", ["test", "train"])
def test_only_val_is_accepted(collect, random_pictures, split):
    with pytest.raises(SplitLeakError, match=f"of {split}"):
        choose_operating_point(collect(random_pictures(0, 4), split=split), max_authentic_fpr=0.1)


@pytest.mark.parametrize(("picture", "missing"), [(_forged(1, 0), "authentic"), (_authentic(1), "forged region")])
def test_a_class_that_is_absent_is_named(collect, picture, missing):
    with pytest.raises(BadInputError, match=missing):
        choose_operating_point(collect([picture]), max_authentic_fpr=0.1)


def test_a_point_that_is_kept_has_the_figures_that_it_had_when_it_was_chosen(collect, random_pictures):
    statistics = collect(random_pictures(3, 20))
    chosen = choose_operating_point(statistics, max_authentic_fpr=0.2, min_areas=[0.0, 0.05])
    kept = keep_operating_point(statistics, point_of(chosen), max_authentic_fpr=0.2, note="kept")
    assert (kept.decision, kept.figures, kept.meets_ceiling) == (chosen.decision, chosen.figures, chosen.meets_ceiling)
    assert kept.note == "kept"
    with pytest.raises(SplitLeakError):
        keep_operating_point(
            collect(random_pictures(3, 4), split="test"), point_of(chosen), max_authentic_fpr=1.0, note=""
        )
