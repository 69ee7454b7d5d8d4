import builtins
import json
from pathlib import Path

import pytest
from kfp import dsl, local
from kfp.dsl import Artifact, Dataset, Model, Output

from bundle import fetch_release, read_bundle
from components.export.component import export
from components.publish.component import publish

RECIPE = json.dumps({"formats": ["torchscript"]})


@dsl.component(base_image="python", install_kfp_package=False)
def hand_over(path: str, model: Output[Model]):
    import shutil

    shutil.copyfile(path, model.path)


@dsl.component(base_image="python", install_kfp_package=False)
def measured(f1: float, evaluation: Output[Artifact]):
    import json
    from pathlib import Path

    figures = {"f1": f1, "iou": 0.3, "authentic_fpr": 0.0, "authentic_fp_fraction": 0.0, "forged_recall": 0.5}
    group = {
        "ensemble": figures,
        "members": {"colour": figures, "ela": figures},
        "weights": {"colour": 1.0, "ela": 1.0},
        "temperatures": {"colour": 1.0, "ela": 1.0},
        "operating_point": {"threshold": 0.5, "min_area_fraction": 0.0},
        "robustness": {"noise": figures},
    }
    Path(evaluation.path).mkdir(parents=True)
    (Path(evaluation.path) / "metrics.json").write_text(json.dumps({"task": "regions", "groups": {"v4": group}}))


@dsl.pipeline
def release(dataset: str, models: list, f1: float, store: str, publish_recipe: str) -> Artifact:
    with dsl.ParallelFor(models) as path:
        handed = hand_over(path=path)
    judged = measured(f1=f1)
    bundle = export(
        dataset=dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output,
        models=dsl.Collected(handed.outputs["model"]),
        evaluation=judged.outputs["evaluation"],
        recipe=RECIPE,
    )
    task = publish(
        bundle=bundle.outputs["bundle"],
        evaluation=judged.outputs["evaluation"],
        store=store,
        recipe=publish_recipe,
    )
    return task.outputs["decision"]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local ParallelFor leaves another one behind
    root = tmp_path / "runs"
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    return root


def test_models_become_the_current_release(
    tiny_dataset: Path, checkpoints: list[Path], tmp_path: Path, runner: Path
) -> None:
    store = str(tmp_path / "store")
    models = [str(path) for path in checkpoints]
    task = release(dataset=str(tiny_dataset), models=models, f1=0.6, store=store, publish_recipe="{}")
    decision = json.loads((Path(task.outputs["Output"].path) / "decision.json").read_text())
    assert decision["decision"] == "released"
    assert task.outputs["Output"].metadata["version"] == decision["version"]
    fetched = fetch_release(store, "regions", tmp_path / "fetched")
    assert [member.name for member in fetched.document.members] == ["colour", "ela"]
    (written,) = runner.rglob("export/bundle")
    assert read_bundle(written).sha256 == fetched.sha256 == decision["bundle_sha256"]
    (card,) = runner.rglob("export/card")
    assert "| f1 | 0.6 |" in card.read_text()
