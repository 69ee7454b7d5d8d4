from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.face_bundles import TinyStills
from bundle.faces.verdict import FaceDecision
from data.index import read_index
from data.shards import ShardReader
from judging.guard import SplitLeakError
from judging.settings import InferenceSettings
from media.spec import InputSpec
from media.views.face import FaceView
from tasks.faces.fitting import fit
from tasks.faces.settings import FacesExport
from tasks.task import ENSEMBLE, ExportJob

SPEC = InputSpec(views={"face": FaceView(size=32, margin=1.0)})
CPU = InferenceSettings(device="cpu")


def job_of(dataset: Path, *members: str, split: str = "val", **settings: Any) -> ExportJob:
    """Return a job of networks that weigh the mean colour of a face."""
    index = read_index(dataset)
    networks: Any = {
        name: SimpleNamespace(
            network=TinyStills().eval(), spec=SimpleNamespace(input=SPEC), family=SimpleNamespace(clips=False)
        )
        for name in members
    }
    chosen = FacesExport(inference=CPU, **settings)
    return ExportJob(networks, index.where(split=split), ShardReader(index.shards), chosen)


def test_each_member_and_the_ensemble_have_a_choice(tiny_faces: Path) -> None:
    fitted = fit(job_of(tiny_faces, "a", "b", threshold="balanced_accuracy"))
    assert set(fitted.choices) == {ENSEMBLE, "a", "b"}
    assert all(isinstance(choice.decision, FaceDecision) for choice in fitted.choices.values())
    assert fitted.temperatures["a"] == fitted.temperatures["b"]
    assert sum(fitted.weights.weights.values()) == pytest.approx(1)


def test_what_is_not_to_be_fitted_is_left_as_it_is(tiny_faces: Path) -> None:
    fitted = fit(job_of(tiny_faces, "a", "b", calibrate=False, fit_weights=False))
    assert fitted.temperatures == {"a": 1.0, "b": 1.0}
    assert fitted.weights.weights == {"a": 0.5, "b": 0.5}


def test_no_other_split_chooses(tiny_faces: Path) -> None:
    with pytest.raises(SplitLeakError):
        fit(job_of(tiny_faces, "a", split="test"))
