from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.bundles import Tiny
from bundle.regions.verdict import OperatingPoint
from core.errors import BadInputError
from data.index import read_index
from data.shards import ShardReader
from judging.guard import SplitLeakError
from judging.settings import InferenceSettings
from media.spec import InputSpec
from media.views.tiles import TilesView
from tasks.regions.fitting import fit
from tasks.regions.settings import RegionsExport
from tasks.task import ENSEMBLE, ExportJob

SPEC = InputSpec(views={"tiles": TilesView(size=64, overlap=16)})
CPU = InferenceSettings(device="cpu")


def job_of(dataset: Path, members: int, split: str = "val", **settings: Any) -> ExportJob:
    """Return a job of networks that are a convolution each."""
    index = read_index(dataset)
    networks: Any = {
        f"m{seed}": SimpleNamespace(network=Tiny(3, seed).eval(), spec=SimpleNamespace(input=SPEC))
        for seed in range(members)
    }
    chosen = RegionsExport(inference=CPU, **settings)
    return ExportJob(networks, index.where(split=split), ShardReader(index.shards), chosen)


def test_each_member_and_the_ensemble_have_a_choice(tiny_dataset: Path) -> None:
    fitted = fit(job_of(tiny_dataset, 2, min_areas=(0.0, 0.01)))
    assert set(fitted.choices) == {ENSEMBLE, "m0", "m1"}
    for choice in fitted.choices.values():
        assert isinstance(choice.decision, OperatingPoint)
        assert choice.decision.min_area_fraction in (0.0, 0.01)
    assert sum(fitted.weights.weights.values()) == pytest.approx(1)
    assert set(fitted.temperatures) == {"m0", "m1"}


def test_a_lone_member_is_its_own_ensemble(tiny_dataset: Path) -> None:
    fitted = fit(job_of(tiny_dataset, 1))
    assert fitted.choices[ENSEMBLE] is fitted.choices["m0"]
    assert fitted.weights.weights == {"m0": 1.0}


def test_what_is_not_to_be_fitted_is_left_as_it_is(tiny_dataset: Path) -> None:
    fitted = fit(job_of(tiny_dataset, 2, calibrate=False, fit_weights=False))
    assert fitted.temperatures == {"m0": 1.0, "m1": 1.0}
    assert fitted.weights.weights == {"m0": 0.5, "m1": 0.5}
    assert not fitted.weights.fitted


@pytest.mark.parametrize("settings", [{}, {"calibrate": False, "fit_weights": False}])
def test_no_other_split_chooses(tiny_dataset: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(SplitLeakError):
        fit(job_of(tiny_dataset, 1, split="test", **settings))
    with pytest.raises(BadInputError) as caught:
        fit(job_of(tiny_dataset, 1, split="none", **settings))
    assert caught.value.reason == "empty-class"
