from pathlib import Path

from kfp import dsl, local
from kfp.dsl import Dataset, Model

from components.sweep_hard_negatives.component import sweep_hard_negatives
from components.sweep_hard_negatives.recipe import SweepRecipe
from data.index import read_index


def test_the_component_writes_an_index_a_report_and_metrics(tiny_dataset: Path, tiny_model: Path, tmp_path: Path):
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
    recipe = SweepRecipe(mining_threshold=0.001, mining_min_area_fraction=0.0).to_json()

    @dsl.pipeline
    def sweep(dataset: str, model: str, recipe: str) -> Dataset:
        task = sweep_hard_negatives(
            dataset=dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output,
            model=dsl.importer(artifact_uri=model, artifact_class=Model).output,
            recipe=recipe,
        )
        return task.outputs["hard_negatives"]

    task = sweep(dataset=str(tiny_dataset), model=str(tiny_model), recipe=recipe)
    found = task.outputs["Output"]
    assert len(read_index(Path(found.path))) == 6
    assert found.metadata["samples"] == 6
    (report,) = tmp_path.glob("*/*/report")
    assert report.read_text().startswith("<!doctype html>")
