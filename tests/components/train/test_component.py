import builtins
import json
from pathlib import Path

import pytest
from kfp import dsl, local
from kfp.dsl import Dataset, Model

from components.train.component import train
from components.train.recipe import TrainRecipe
from components.train.step import train as train_step
from core.files import sha256_file
from core.settings import validate


def test_the_component_fine_tunes_with_artifacts_of_the_pipeline(
    tiny_dataset: Path, tiny_recipe: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny_recipe["epochs"] = 1
    train_step(tiny_dataset, tmp_path / "v3", validate(TrainRecipe, tiny_recipe, "recipe"))
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local run may leave another one behind
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))

    @dsl.pipeline
    def fine_tune(dataset: str, base: str, recipe: str, state: str) -> Model:
        task = train(
            dataset=dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output,
            base=dsl.importer(artifact_uri=base, artifact_class=Model).output,
            recipe=recipe,
            state=state,
        )
        return task.outputs["model"]

    recipe, state = json.dumps({**tiny_recipe, "stage": "v4", "base_stage": "v3"}), tmp_path / "state"
    task = fine_tune(dataset=str(tiny_dataset), base=str(tmp_path / "v3"), recipe=recipe, state=str(state))
    model = Path(task.outputs["Output"].path)
    document = json.loads((model / "model.json").read_text())
    assert document["sha256"] == sha256_file(model / "tiny_v4_best.pth")
    assert (state / "tiny_v4" / "finished.json").exists()
    [page] = (path for path in tmp_path.glob("root/**/report") if path.is_file())
    assert "Training of tiny_v4" in page.read_text()
