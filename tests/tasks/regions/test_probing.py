from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.regions.verdict import OperatingPoint
from data.index import read_index
from data.shards import ShardReader
from media.spec import InputSpec
from media.views.tiles import TilesView
from tasks.regions.probing import probe
from tasks.regions.settings import RegionsExport
from tasks.task import ExportJob


def job_of(dataset: Path, spec: InputSpec) -> ExportJob:
    """Return a job of which a probe looks at what the members read alone."""
    index = read_index(dataset)
    networks: Any = {"a": SimpleNamespace(spec=SimpleNamespace(input=spec))}
    return ExportJob(networks, index.where(split="val"), ShardReader(index.shards), RegionsExport())


def test_networks_are_asked_about_tiles_of_different_pictures(tiny_dataset: Path) -> None:
    job = job_of(tiny_dataset, InputSpec(views={"tiles": TilesView(size=64, overlap=16)}))
    asked: list[NDArray[np.uint8]] = []

    def model(arrays: Any) -> dict[str, NDArray[np.float32]]:
        asked.append(arrays["tiles"])
        return {"logits": arrays["tiles"][:, :1].astype(np.float32)}

    ask = probe(job, "a", OperatingPoint(threshold=0.75, min_area_fraction=0.1), 5)
    outputs = ask({"model": model}, 3)
    assert ask.cut == pytest.approx(np.log(3))
    assert asked[0].shape == (3, 3, 64, 64)
    np.testing.assert_array_equal(outputs["logits"], asked[0][:, :1])
    ask({"model": model}, 5)
    assert len({tile.tobytes() for tile in asked[1]}) == 5
    np.testing.assert_array_equal(asked[1][:3], asked[0])


def test_a_decision_of_another_task_is_a_mistake_of_ours(tiny_dataset: Path) -> None:
    job = job_of(tiny_dataset, InputSpec(views={"tiles": TilesView(size=64, overlap=16)}))
    with pytest.raises(AssertionError):
        probe(job, "a", cast(Any, RegionsExport()), 1)
