import builtins
import json
from pathlib import Path

import pytest
from kfp import dsl, local
from kfp.dsl import Artifact, Dataset, Model, Output

from components.evaluate.component import evaluate
from components.evaluate.recipe import EvaluateRecipe
from components.images import TRAINER

RECIPE = EvaluateRecipe(degradations=(), bootstrap={"resamples": 20}, max_authentic_fpr=0.4).to_json()


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def hand_over(path: str, model: Output[Model]) -> None:
    import shutil

    shutil.copyfile(path, model.path)


def test_the_component_takes_lists_of_models(
    tiny_dataset: Path, models: dict[str, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local ParallelFor leaves another one behind
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))

    @dsl.pipeline
    def side_by_side(dataset: str, v3: list, v4: list, recipe: str) -> Artifact:
        with dsl.ParallelFor(v3) as path:
            first = hand_over(path=path)
        with dsl.ParallelFor(v4) as path:
            second = hand_over(path=path)
        task = evaluate(
            dataset=dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output,
            models=dsl.Collected(first.outputs["model"]),
            models_2=dsl.Collected(second.outputs["model"]),
            recipe=recipe,
        )
        return task.outputs["evaluation"]

    paths = {name: [str(path) for path in found] for name, found in models.items()}
    task = side_by_side(dataset=str(tiny_dataset), recipe=RECIPE, **paths)
    metrics = json.loads((Path(task.outputs["Output"].path) / "metrics.json").read_text())
    assert {name: list(group["members"]) for name, group in metrics["groups"].items()} == {
        "v3": ["a", "b"],
        "v4": ["a", "c"],
    }
