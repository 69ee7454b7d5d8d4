from types import SimpleNamespace

import pytest

from core.errors import SettingsError
from core.settings import validate
from media.selfblend.settings import PseudoFakeSettings
from tasks.faces import TASK
from tasks.faces.settings import FacesEvaluate, FacesExport, FacesGate, FacesSampling


def test_the_defaults_are_those_of_earlier_recipes():
    evaluate = FacesEvaluate()
    assert (evaluate.threshold, evaluate.calibrate, evaluate.fit_weights, evaluate.heatmaps) == (
        "ceiling", True, True, 200
    )  # fmt: skip
    assert FacesExport().threshold == "ceiling"
    assert (FacesGate().min_auc, FacesGate().min_tpr, FacesGate().max_authentic_fpr) == (0.8, None, 0.1)
    assert FacesSampling().pseudo_fakes is None


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        (FacesEvaluate, {"threshold": "best"}, ["threshold", "best", "balanced_accuracy"]),
        (FacesEvaluate, {"min_areas": [0.1]}, ["min_areas", "unknown key"]),
        (FacesEvaluate, {"heatmaps": -1}, ["heatmaps", "-1"]),
        (FacesGate, {"min_f1": 0.5}, ["min_f1", "unknown key"]),
        (FacesSampling, {"pseudo_fakes": {"probability": 2}}, ["pseudo_fakes", "probability", "2"]),
        (
            FacesSampling,
            {"balanced": True, "pseudo_fakes": {"probability": 0.5}},
            ["leaves no room for real fakes", "less than 0.5"],
        ),
        (FacesSampling, {"bands": [[0.5, 1], [0.1, 1]]}, ["bands", "rise"]),
    ],
)
def test_a_wrong_key_is_named(settings, changes, words):
    with pytest.raises(SettingsError) as caught:
        validate(settings, changes, "recipe")
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("real_fakes", "share"), [(True, 0.625), (False, 1.0)])
def test_a_balanced_half_stays_authentic_beside_pseudo_fakes(real_fakes, share):
    fakes = PseudoFakeSettings(probability=0.2, real_fakes=real_fakes)
    assert FacesSampling(balanced=True, pseudo_fakes=fakes).authentic_share == pytest.approx(share)


def test_the_gate_compares_every_figure_with_the_current_release():
    assert [figure.name for figure in TASK.gate_figures] == ["auc", "tpr", "authentic_fpr", "robustness"]
    assert all(figure.compared for figure in TASK.gate_figures)


def test_the_card_says_when_a_medium_counts_as_manipulated():
    assert "from a probability of 0.4 on" in TASK.card.decision(SimpleNamespace(threshold=0.4))
