import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl, local
from kfp.dsl import Artifact, Dataset

from bundle import read_bundle
from components.evaluate.component import evaluate
from components.evaluate.exchange import evaluate_artifact
from components.export.component import export
from components.export.export import export as write_bundle
from components.train.component import train
from core.artifacts import keep
from core.errors import SettingsError
from core.files import sha256_file

ONE_FORMAT = json.dumps({"formats": ["onnx"]})
RECIPE = json.dumps({"degradations": [], "bootstrap": {"resamples": 20}, "max_authentic_fpr": 0.4})


def test_the_component_judges_the_bundle_beside_the_models_of_the_stages_before(
    tiny_dataset: Path, tiny_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local ParallelFor leaves another one behind
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))

    @dsl.pipeline
    def two_stages(dataset: str, members: list, models: str, recipe: str) -> Artifact:  # type: ignore[type-arg]
        index = dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output
        with dsl.ParallelFor(members) as member:
            first = train(dataset=index, recipe=member.v3, models=models)
            second = train(dataset=index, recipe=member.v4, base=first.outputs["model"])
        bundle = export(dataset=index, models=dsl.Collected(second.outputs["model"]), recipe=ONE_FORMAT)
        task = evaluate(
            dataset=index,
            models=dsl.Collected(second.outputs["model"]),
            bundle=bundle.outputs["bundle"],
            store=models,
            recipe=recipe,
        )
        return task.outputs["evaluation"]

    recipe = tiny_recipe | {"epochs": 1}
    members = [
        {
            stage: json.dumps(recipe | {"member": member, "stage": stage, "base_stage": base})
            for stage, base in (("v3", None), ("v4", "v3"))
        }
        for member in ("a", "b")
    ]
    store = tmp_path / "models"
    task = two_stages(dataset=str(tiny_dataset), members=members, models=str(store), recipe=RECIPE)
    metrics = json.loads((Path(task.outputs["Output"].path) / "metrics.json").read_text())
    assert {name: list(group["members"]) for name, group in metrics["groups"].items()} == {
        "v3": ["a", "b"], "bundle": ["a", "b"]
    }  # fmt: skip
    (bundle,) = tmp_path.rglob("export/bundle")
    assert metrics["bundle"]["sha256"] == read_bundle(bundle).sha256
    assert sorted(path.name for path in store.iterdir()) == ["a_v3", "b_v3"]


def test_further_data_sets_are_read_from_their_addresses(
    tiny_faces: Path, make_face_model: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = make_face_model("spotter")
    model = tmp_path / "model"
    model.mkdir()
    (model / checkpoint.name).write_bytes(checkpoint.read_bytes())
    document = {"member": "spotter", "stage": "one", "family": "spotter", "checkpoint": checkpoint.name}
    (model / "model.json").write_text(json.dumps(document | {"sha256": sha256_file(checkpoint)}))
    bundle = tmp_path / "bundle"
    write_bundle(tiny_faces, [model], bundle, {"formats": ["onnx"], "name": "faces"})
    recipe = json.dumps({"degradations": [], "bootstrap": {"resamples": 20}, "heatmaps": 0})
    others = keep(tiny_faces, str(tmp_path / "store/indexes/again"))
    given = [[str(model)], str(bundle), str(tmp_path / "store"), str(tmp_path / "evaluation"), recipe]
    with pytest.raises(SettingsError, match=r"datasets/[0-9a-f]{16} is a second data set called 'skimage'"):
        evaluate_artifact(str(tiny_faces), others, *given, "report")
    figures = evaluate_artifact(str(tiny_faces), "", *given, str(tmp_path / "report"))
    assert figures
    assert all(name.startswith("bundle_") for name in figures)
    assert (tmp_path / "report").read_text().startswith("<!doctype html>")
