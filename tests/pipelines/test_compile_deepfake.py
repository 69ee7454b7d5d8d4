"""What the deepfake graph asks of a cluster, read from the compiled YAML."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import SettingsError
from pipelines import deepfake, images
from pipelines.__main__ import main
from pipelines.graphs import compile_pipeline, load
from pipelines.recipe import (
    DeepfakeRecipe,
    load_recipe,
    recipe_names,
    resolve_extraction,
    resolve_stage,
    resolve_stages,
)

SHIPPED = [name for name in recipe_names() if name.startswith("deepfake/")]
TINY = Path(__file__).with_name("tiny_faces.yaml")
Document = dict[str, Any]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Document]:
    path = compile_pipeline("deepfake", tmp_path_factory.mktemp("yaml") / "deepfake.yaml", registry="r", tag="abc")
    pipeline, platforms = yaml.safe_load_all(path.read_text())
    return pipeline, platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def tasks(pipeline: Document) -> Document:
    found = dict(pipeline["root"]["dag"]["tasks"])
    for component in pipeline["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return found


def test_every_data_set_is_extracted_and_every_stage_follows_the_one_before(
    compiled: tuple[Document, Document],
) -> None:
    found = tasks(compiled[0])
    assert {"extract-frames", "extract-frames-2", "extract-frames-3", "extract-shares-dfdc"} <= set(found)
    assert "train" in found["train-2"]["dependentTasks"]
    assert "train-2" in found["train-3"]["dependentTasks"]
    assert {"evaluate", "export"} <= set(found["publish"]["dependentTasks"])
    labels = {name: task["taskInfo"]["name"] for name, task in found.items()}
    assert {labels[name] for name in ("train", "train-2", "train-3")} == {
        "train-faceforensics", "train-celebdf", "train-dfdc"
    }  # fmt: skip


def test_shares_are_extracted_before_the_call_that_joins_them(compiled: tuple[Document, Document]) -> None:
    found = tasks(compiled[0])
    joins = [name for name, task in found.items() if "extract-shares-dfdc" in task.get("dependentTasks", [])]
    assert len(joins) == 1
    assert found[joins[0]]["taskInfo"]["name"] == "extract-dfdc"
    (loop,) = (
        task
        for task in compiled[0]["components"]["comp-extract-shares-dfdc"]["dag"]["tasks"].values()
        if "parameterIterator" in task
    )
    assert yaml.safe_load(loop["parameterIterator"]["items"]["raw"]) == list(range(8))


def test_steps_are_placed_as_those_of_the_other_graph(compiled: tuple[Document, Document]) -> None:
    pipeline, platform = compiled
    executors = {name: one["container"] for name, one in pipeline["deploymentSpec"]["executors"].items()}
    assert executors.keys() == platform.keys()
    for name, container in executors.items():
        light = name.startswith(("exec-extract", "exec-publish"))
        assert container["image"] == f"r/veriframe-{'extractor' if light else 'trainer'}:abc"
        assert ("accelerator" in container["resources"]) != light
        assert int(platform[name]["activeDeadlineSeconds"]) > 0
        assert platform[name]["secretAsEnv"]
    cached = {name for name, task in tasks(pipeline).items() if task.get("cachingOptions", {}).get("enableCache")}
    assert cached >= {"train", "train-2", "train-3", "evaluate", "export"}
    assert not any(name.startswith(("extract-frames", "publish")) for name in cached)


def test_two_processes_compile_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        command = [sys.executable, "-m", "pipelines", "compile", "deepfake", "--tag", "abc"]
        root = Path(images.__file__).parents[1]
        subprocess.run([*command, "--output", str(tmp_path / name)], check=True, cwd=root, capture_output=True)
    assert (tmp_path / "a/deepfake.yaml").read_bytes() == (tmp_path / "b/deepfake.yaml").read_bytes()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_resolves(name: str) -> None:
    recipe = load_recipe(name, DeepfakeRecipe)
    for dataset in recipe.datasets:
        assert resolve_extraction(recipe, dataset).dataset == dataset
    cuts = {str(resolve_extraction(recipe, dataset).spec.extraction.look) for dataset in recipe.datasets}
    assert len(cuts) == 1  # or a model of one data set could not judge another
    for member in resolve_stages(recipe):
        assert set(member) == {"name", *recipe.stages}


def test_the_published_recipe_holds_the_published_settings() -> None:
    recipe = load_recipe("deepfake/published", DeepfakeRecipe)
    assert [stage.dataset for stage in recipe.stages.values()] == ["faceforensics", "celebdf", "dfdc"]
    genconvit, b3 = (resolve_stage(recipe, name, "faceforensics") for name in recipe.members)
    assert (b3.batch_size, b3.optimizer.lr, b3.accumulate, b3.input.size) == (4, 5e-5, 2, 300)
    assert b3.model["backbone"] == "efficientnet_b3"
    for one in (genconvit, b3):
        schedule = one.schedule
        assert (one.optimizer.name, one.policy) == ("adamw", "faces")
        assert (schedule.name, schedule.factor, schedule.patience, schedule.min_lr) == ("plateau", 0.5, 5, 1e-7)
        assert (one.monitor.metric, one.monitor.mode) == ("loss", "min")
        assert one.early_stopping is not None
        assert one.early_stopping.patience == 10
        assert one.clip_norm is not None
    assert genconvit.model["dropout"] == 0.5
    other = recipe.model_copy(update={"members": {"spotter_b0": {}}})
    b0 = resolve_stage(other, "spotter_b0", "faceforensics")
    assert (b0.batch_size, b0.optimizer.lr, b0.accumulate, b0.input.size) == (8, 1e-4, 1, 224)


def test_overlays_lie_over_one_another_and_a_stage_starts_from_the_one_before() -> None:
    recipe = load_recipe(str(TINY), DeepfakeRecipe)
    one, two = (resolve_stage(recipe, "spotter_lite", stage) for stage in ("one", "two"))
    assert one.family == "spotter"  # of the variant
    assert one.input.size == 32  # the member's own key, over the variant's
    assert one.input.mean[0] == 0.498
    assert (one.optimizer.lr, two.optimizer.lr) == (1e-3, 1e-5)
    assert (one.generation, one.base_generation) == ("one", "one")
    assert (two.generation, two.base_generation) == ("two", "one")
    given = deepfake.arguments(recipe, ["genconvit_lite"])
    assert [member["name"] for member in given["members"]] == ["genconvit_lite"]
    assert '"evaluation_group":"two"' in given["export_recipe"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("two: {dataset: second", "two: {dataset: secnd", r"stages.two.dataset = 'secnd'.*Did you mean 'second'"),
        ("first: {source: first, parts: 2}", "first: {source: first, parts: 0}", r"datasets.first.parts = 0"),
        ("genconvit_lite:", "genconvit_light:", r"Did you mean 'genconvit_lite'"),
        ("policy: faces_light", "polcy: faces_light", r"training recipe of spotter_lite in stage one.*polcy"),
        ("layout: real-fake-frames", "layout: real-fake", r"extraction recipe of first.*Did you mean 'real-fake-"),
    ],
)
def test_a_wrong_recipe_is_an_error_that_names_the_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    text = TINY.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=f"(?s){says}"):
        compile_pipeline("deepfake", tmp_path / "out.yaml", str(path), tag="abc")


def test_a_recipe_of_the_other_graph_is_refused() -> None:
    with pytest.raises(SettingsError, match="generations"):
        load("deepfake", "forgery/cpu")


def test_the_command_line_lists_the_recipes_of_both_graphs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in recipe_names())
