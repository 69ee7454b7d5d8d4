import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl, local
from kfp.dsl import Dataset, Model

from components.sweep_hard_negatives.component import sweep_hard_negatives
from components.train.recipe import TrainRecipe
from components.train.step import train
from core.settings import validate
from data.index import read_index


def test_the_component_writes_an_index_a_report_and_metrics(
    tiny_dataset: Path, tiny_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_dataset, tmp_path / "model", validate(TrainRecipe, tiny_recipe | {"epochs": 1}, "recipe"))
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local run may leave another one behind
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    recipe = json.dumps({"mining_threshold": 0.001, "mining_min_area_fraction": 0.0})

    @dsl.pipeline
    def sweep(dataset: str, model: str, recipe: str) -> Dataset:
        task = sweep_hard_negatives(
            dataset=dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output,
            model=dsl.importer(artifact_uri=model, artifact_class=Model).output,
            recipe=recipe,
        )
        return task.outputs["hard_negatives"]

    task = sweep(dataset=str(tiny_dataset), model=str(tmp_path / "model"), recipe=recipe)
    found = task.outputs["Output"]
    assert len(read_index(Path(found.path))) == 6
    assert found.metadata["samples"] == 6
    (report,) = tmp_path.glob("root/*/*/report")
    assert report.read_text().startswith("<!doctype html>")
