import pytest

from bundle import Figures
from components.publish.gate import Standard, check_release
from tasks.evaluation import worst_retained
from tasks.faces.settings import FacesGate
from tasks.regions.settings import RegionsGate
from tasks.settings import GateSettings

GATE = RegionsGate(min_f1=0.5, max_authentic_fpr=0.1, robustness_floor=0.7, margin=0.05)


def figures(**values: float | None) -> Figures:
    return Figures(task="regions", values=values, dataset_sha256="1" * 64, degradations=("noise",))


def changed(before: Figures, change: dict[str, float | None]) -> Figures:
    return before.model_copy(update={"values": before.values | change})


GOOD = figures(f1=0.6, authentic_fpr=0.05, robustness=0.8)


def current(f1: float | None = 0.6, authentic_fpr: float | None = 0.05) -> Standard:
    return Standard(version="7", values={"f1": f1, "authentic_fpr": authentic_fpr, "robustness": 1.0})


def failed(given: Figures, gate: GateSettings = GATE, standard: Standard | None = None) -> list[str]:
    return [f"{check.figure}: {check.because}" for check in check_release(given, gate, standard) if not check.passed]


def test_figures_at_their_limits_pass() -> None:
    assert failed(figures(f1=0.5, authentic_fpr=0.1, robustness=0.7)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"f1": 0.4999}, "f1: min_f1"),
        ({"authentic_fpr": 0.1001}, "authentic_fpr: max_authentic_fpr"),
        ({"robustness": 0.6999}, "robustness: robustness_floor"),
    ],
)
def test_each_limit_refuses_by_itself(change: dict[str, float], expected: str) -> None:
    assert failed(changed(GOOD, change)) == [expected]


@pytest.mark.parametrize("figure", ["f1", "authentic_fpr", "robustness"])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_figure_that_was_not_measured_does_not_pass(figure: str, value: float | None) -> None:
    assert [line.split(":")[0] for line in failed(changed(GOOD, {figure: value}))] == [figure]


def test_a_limit_of_none_asks_for_nothing() -> None:
    gate = RegionsGate(min_f1=None, max_authentic_fpr=None, robustness_floor=None, margin=None)
    nothing = figures(f1=None, authentic_fpr=None, robustness=None)
    assert check_release(nothing, gate, current()) == []


def test_all_failing_figures_are_listed() -> None:
    assert len(failed(figures(f1=0.1, authentic_fpr=0.9, robustness=0.1), standard=current())) == 5


def test_worse_than_the_current_release_within_the_margin_passes() -> None:
    assert failed(figures(f1=0.56, authentic_fpr=0.09, robustness=0.8), standard=current()) == []


@pytest.mark.parametrize(("change", "figure"), [({"f1": 0.54}, "f1"), ({"authentic_fpr": 0.0999}, "authentic_fpr")])
def test_worse_than_the_current_release_beyond_the_margin_is_refused(change: dict[str, float], figure: str) -> None:
    lines = failed(changed(GOOD, change), standard=current(authentic_fpr=0.04))
    assert lines == [f"{figure}: current release 7, margin 0.05"]


def test_a_current_release_without_figures_is_no_measure() -> None:
    assert failed(GOOD, standard=current(None, None)) == []


def test_a_check_says_figure_value_and_limit() -> None:
    (check,) = [c for c in check_release(changed(GOOD, {"f1": 0.21}), GATE, None) if not c.passed]
    assert str(check) == "f1 is 0.21, must be at least 0.5 (min_f1)"
    (check,) = [c for c in check_release(changed(GOOD, {"f1": None}), GATE, None) if not c.passed]
    assert str(check) == "f1 was not measured, must be at least 0.5 (min_f1)"


@pytest.mark.parametrize(
    ("clean", "degraded", "expected"),
    [
        (0.8, {"noise": 0.4, "blur": 0.6}, 0.5),
        (0.5, {"noise": 0.6}, 1.2),
        (0.0, {"noise": 0.0}, None),
        (None, {"noise": 0.4}, None),
        (0.8, {}, None),
        (0.8, {"noise": 0.4, "blur": None}, None),
        (0.8, {"noise": float("nan")}, None),
    ],
)
def test_robustness_is_the_smallest_share_of_f1_that_is_left(
    clean: float | None, degraded: dict[str, float | None], expected: float | None
) -> None:
    assert worst_retained(clean, list(degraded.values())) == expected


FACES = Figures(
    task="faces",
    values={"auc": 0.95, "tpr": 0.8, "authentic_fpr": 0.05, "robustness": 0.8},
    dataset_sha256="1" * 64,
    degradations=("noise",),
)
FACE_GATE = FacesGate(min_auc=0.9, min_tpr=0.7, max_authentic_fpr=0.1, robustness_floor=0.5, margin=0.02)


def released(**change: float) -> Standard:
    return Standard(version="3", values=changed(FACES, dict(change)).values)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"auc": 0.89}, "auc: min_auc"),
        ({"tpr": 0.69}, "tpr: min_tpr"),
        ({"authentic_fpr": 0.11}, "authentic_fpr: max_authentic_fpr"),
        ({"robustness": 0.49}, "robustness: robustness_floor"),
        ({"auc": None}, "auc: min_auc"),
    ],
)
def test_classifiers_have_limits_of_their_own(change: dict[str, float | None], expected: str) -> None:
    assert failed(FACES, FACE_GATE) == []
    assert failed(changed(FACES, change), FACE_GATE) == [expected]


@pytest.mark.parametrize(
    ("old", "figure"),
    [({"auc": 0.98}, "auc"), ({"tpr": 0.83}, "tpr"), ({"authentic_fpr": 0.02}, "authentic_fpr"),
     ({"robustness": 0.83}, "robustness")],
)  # fmt: skip
def test_classifiers_are_held_against_the_current_release(old: dict[str, float], figure: str) -> None:
    assert failed(FACES, FACE_GATE, released()) == []
    assert failed(FACES, FACE_GATE, released(**old)) == [f"{figure}: current release 3, margin 0.02"]


@pytest.mark.parametrize(
    ("clean", "degraded", "expected"), [(0.9, [0.7, 0.8], 0.5), (0.9, [0.4], 0.0), (0.5, [0.6], None)]
)
def test_robustness_of_an_auc_counts_from_chance(clean: float, degraded: list[float], expected: float | None) -> None:
    assert worst_retained(clean, degraded, chance=0.5) == (expected if expected is None else pytest.approx(expected))
