import json
from collections.abc import Callable
from pathlib import Path

from kfp import compiler, dsl, local

from components.extract_frames.component import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from components.images import EXTRACTOR
from data.index import read_index


def test_the_component_makes_a_dataset(
    tmp_path: Path, lay: Callable[..., Path], recipe: Callable[..., ExtractRecipe]
) -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    settings = recipe().to_json()
    task = extract_frames(source=str(lay(tmp_path / "in")), shards=str(tmp_path / "shards"), recipe=settings, workers=1)
    dataset = task.outputs["dataset"]
    assert len(read_index(Path(dataset.path))) == 24
    assert sum(dataset.metadata["samples"].values()) == 24


def test_shares_leave_their_rows_where_the_whole_takes_them(
    tmp_path: Path, lay: Callable[..., Path], recipe: Callable[..., ExtractRecipe]
) -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    given = {"source": str(lay(tmp_path / "in")), "shards": str(tmp_path / "shards"), "recipe": recipe().to_json()}
    chunks = tmp_path / "chunks"
    for part in (0, 1):
        extract_frames(**given, workers=1, chunks=str(chunks), part=part, parts=2)
    assert list(chunks.glob("*.jsonl"))
    task = extract_frames(**given, workers=1, chunks=str(chunks), parts=2)
    assert len(read_index(Path(task.outputs["dataset"].path))) == 24


def test_the_component_compiles_with_the_extractor_image(tmp_path: Path) -> None:
    @dsl.pipeline(name="only-extract")
    def pipeline(source: str, shards: str, recipe: str) -> None:
        extract_frames(source=source, shards=shards, recipe=recipe)

    compiler.Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))
    text = (tmp_path / "pipeline.yaml").read_text()
    assert EXTRACTOR in text
    assert "pip install" not in text


def test_a_recipe_crosses_as_json(recipe: Callable[..., ExtractRecipe]) -> None:
    settings = recipe(splits={"seed": 4, "fractions": {"train": 0.5, "val": 0.5}})
    assert ExtractRecipe.model_validate(json.loads(settings.to_json())) == settings
