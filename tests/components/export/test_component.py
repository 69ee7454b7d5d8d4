import builtins
import json
from pathlib import Path

import pytest
from kfp import dsl, local
from kfp.dsl import Dataset, Model, Output

from bundle import read_bundle
from components.export.component import export

RECIPE = json.dumps({"formats": ["torchscript"]})


@dsl.component(base_image="python", install_kfp_package=False)
def hand_over(path: str, model: Output[Model]):
    import shutil

    shutil.copyfile(path, model.path)


@dsl.pipeline
def bundle_of(dataset: str, models: list) -> Model:
    with dsl.ParallelFor(models) as path:
        handed = hand_over(path=path)
    task = export(
        dataset=dsl.importer(artifact_uri=dataset, artifact_class=Dataset).output,
        models=dsl.Collected(handed.outputs["model"]),
        recipe=RECIPE,
    )
    return task.outputs["bundle"]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(builtins, "print", builtins.print)  # a local ParallelFor leaves another one behind
    root = tmp_path / "runs"
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    return root


def test_models_become_a_bundle_with_a_card(tiny_dataset: Path, checkpoints: list[Path], runner: Path) -> None:
    task = bundle_of(dataset=str(tiny_dataset), models=[str(path) for path in checkpoints])
    written = task.outputs["Output"]
    read = read_bundle(Path(written.path))
    assert [member.name for member in read.document.members] == ["colour", "ela"]
    assert written.metadata["version"] == read.document.version
    assert written.metadata["sha256"] == read.sha256
    (card,) = runner.rglob("export/card")
    assert card.read_text() == (Path(written.path) / "card.md").read_text()
