"""What a bundle is compared with: the current release on the same media, or nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle import read_bundle
from components.publish.publish import DECISION_FILE, Decision, RefusedError, publish
from components.publish.recipe import PublishRecipe

Make = Callable[..., Path]
RECIPE = PublishRecipe(gate={"min_f1": 0.3, "max_authentic_fpr": 0.1, "robustness_floor": 0.5, "margin": 0.05})


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def release(bundle: Path, make_evaluation: Make, root: str, output: Path, **figures: Any) -> Decision:
    """Publish a bundle with an evaluation of it."""
    return publish(bundle, make_evaluation(bundle, **figures), root, output, RECIPE)


def test_a_bundle_is_compared_with_the_current_release_on_its_own_media(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    """The release was let through with 0.6 on other media; judged again on these it has 0.8."""
    first = make_bundle("1")
    release(first, make_evaluation, root, tmp_path / "1", dataset_sha256="1" * 64, f1=0.6)
    judged = {"current": read_bundle(first), "current_f1": 0.8, "dataset_sha256": "2" * 64}
    with pytest.raises(RefusedError, match=r"f1 is 0\.7, must be at least 0\.75 \(current release 1, margin 0\.05\)"):
        release(make_bundle("2"), make_evaluation, root, tmp_path / "2", f1=0.7, **judged)
    assert "1, judged again on the same media" in (tmp_path / "2" / DECISION_FILE).read_text()


def test_figures_of_the_same_data_set_are_compared(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path
) -> None:
    release(make_bundle("1"), make_evaluation, root, tmp_path / "1", f1=0.8)
    with pytest.raises(RefusedError, match=r"f1 is 0\.7, must be at least 0\.75"):
        release(make_bundle("2"), make_evaluation, root, tmp_path / "2", f1=0.7)
    assert "by the figures it was released with" in (tmp_path / "2" / DECISION_FILE).read_text()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"dataset_sha256": "2" * 64},
            "data set 111111111111, jpeg70+noise, those of the bundle of task regions, data",
        ),
        ({"degraded": {"noise": 0.65}}, "jpeg70+noise, those of the bundle of task regions, data set 111111111111, no"),
        ({"dataset_sha256": "2" * 64, "left_out": "it cannot read tiles"}, "not compared with 1: it cannot read tiles"),
    ],
)
def test_figures_of_other_media_are_not_compared_and_the_decision_says_so(
    root: str, make_bundle: Make, make_evaluation: Make, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    release(make_bundle("1"), make_evaluation, root, tmp_path / "1", f1=0.9)
    decision = release(make_bundle("2"), make_evaluation, root, tmp_path / "2", f1=0.7, **change)
    assert decision.decision == "released"
    assert decision.compared.startswith("not compared with 1: ")
    assert reason in decision.compared
    assert not any("current release" in check.because for check in decision.checks)
