import pytest

from bundle.regions.verdict import OperatingPoint
from core.errors import SettingsError
from core.settings import validate
from tasks.regions import TASK
from tasks.regions.settings import (
    MIN_AREAS,
    RegionsEvaluate,
    RegionsExport,
    RegionsGate,
    RegionsSampling,
    RegionsSweep,
)


def test_the_defaults_are_those_of_earlier_recipes():
    assert (RegionsEvaluate().min_areas, RegionsEvaluate().recalls) == (MIN_AREAS, (0.5, 0.7, 0.9))
    assert (RegionsExport().pixels_per_picture, RegionsExport().max_pixels) == (4096, 8_000_000)
    assert (RegionsGate().min_f1, RegionsGate().max_authentic_fpr, RegionsGate().robustness_floor) == (0.3, 0.1, 0.5)
    sweep = RegionsSweep()
    assert (sweep.mining_threshold, sweep.mining_min_area_fraction, sweep.limit, sweep.gallery) == (
        None,
        None,
        None,
        24,
    )
    assert RegionsSampling().authentic_share == 0.5


@pytest.mark.parametrize(
    ("settings", "changes", "words"),
    [
        (RegionsSampling, {"pseudo_fakes": {}}, ["pseudo_fakes", "unknown key"]),
        (RegionsEvaluate, {"heatmaps": 1}, ["heatmaps", "unknown key"]),
        (RegionsEvaluate, {"min_areas": []}, ["min_areas"]),
        (RegionsExport, {"pixels_per_picture": 1}, ["pixels_per_picture", "1"]),
        (RegionsGate, {"min_auc": 0.5}, ["min_auc", "unknown key"]),
        (RegionsSweep, {"mining_threshold": 0}, ["mining_threshold", "0"]),
    ],
)
def test_a_wrong_key_is_named(settings, changes, words):
    with pytest.raises(SettingsError) as caught:
        validate(settings, changes, "recipe")
    assert all(word in str(caught.value) for word in words)


def test_the_gate_compares_all_but_robustness_with_the_current_release():
    assert [figure.name for figure in TASK.gate_figures] == ["f1", "authentic_fpr", "robustness"]
    assert [figure.name for figure in TASK.gate_figures if figure.compared] == ["f1", "authentic_fpr"]


def test_the_card_says_when_a_picture_counts_as_forged():
    sentence = TASK.card.decision(OperatingPoint(threshold=0.25, min_area_fraction=0.001))
    assert "from a probability of 0.25 on" in sentence and "at least 0.001 of its pixels" in sentence
