import builtins
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kfp import dsl, local
from kfp.dsl import Artifact, Model

from bundle import read_pointer
from components.publish.component import publish

Make = Callable[..., Path]


@dsl.pipeline
def release(bundle: str, evaluation: str, store: str, recipe: str) -> Artifact:
    task = publish(
        bundle=dsl.importer(artifact_uri=bundle, artifact_class=Model).output,
        evaluation=dsl.importer(artifact_uri=evaluation, artifact_class=Artifact).output,
        store=store,
        recipe=recipe,
    )
    return task.outputs["decision"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local run leaves another one behind
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "runs"))
    return str(tmp_path / "store")


def test_a_refused_release_fails_the_pipeline(store: str, make_bundle: Make, make_evaluation: Make) -> None:
    bundle = make_bundle()
    with pytest.raises(RuntimeError, match="publish"):
        release(bundle=str(bundle), evaluation=str(make_evaluation(bundle, f1=0.01)), store=store, recipe="{}")
    assert read_pointer(store, "forgery") is None


def test_a_refused_release_is_only_recorded_where_the_recipe_says_so(
    store: str, make_bundle: Make, make_evaluation: Make
) -> None:
    recipe, bundle = json.dumps({"on_refusal": "record"}), make_bundle()
    task = release(bundle=str(bundle), evaluation=str(make_evaluation(bundle, f1=0.01)), store=store, recipe=recipe)
    assert task.outputs["Output"].metadata["decision"] == "refused"
    decision = json.loads((Path(task.outputs["Output"].path) / "decision.json").read_text())
    assert "f1" in [check["figure"] for check in decision["checks"] if not check["passed"]]
    assert read_pointer(store, "forgery") is None
