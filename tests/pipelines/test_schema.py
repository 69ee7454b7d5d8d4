"""The JSON Schema of recipes, held against a library of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipelines.__main__ import main
from pipelines.finding import recipe_names, recipe_path
from pipelines.schema import recipe_schema

TESTED = sorted(Path(__file__).parent.glob("*.yaml"))
RECIPES = [recipe_path(name.partition("/")[0], name) for name in recipe_names()] + TESTED


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return recipe_schema()


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_is_valid(validator: Draft202012Validator, path: Path) -> None:
    errors = [
        f"{error.json_path}: {error.message}" for error in validator.iter_errors(yaml.safe_load(path.read_text()))
    ]
    assert errors == []


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("tiny", ["exprt"], {}),
        ("tiny", ["stages", "v4", "swep"], {}),
        ("tiny", ["stages", "v4", "sweep"], {"galery": 1}),
        ("tiny", ["stages", "v4", "train"], {"optimizer": {"lrr": 1}}),
        ("tiny", ["train", "optimizr"], {}),
        ("tiny", ["train", "model"], {"encodr": "x"}),
        ("tiny", ["train", "loss"], {"tversky": 1}),
        ("tiny", ["train", "sampling"], {"balance": True}),
        ("tiny", ["train", "input"], {"views": {"tile": {}}}),
        ("tiny", ["train", "input"], {"views": {"tiles": {"sise": 64}}}),
        ("tiny", ["train", "epochs"], "many"),
        ("tiny", ["members", "high_recall"], {"polcy": "native"}),
        ("tiny", ["extract", "splits", "sed"], 1),
        ("tiny", ["evaluate", "gallry"], 1),
        ("tiny", ["export", "nam"], "x"),
        ("tiny", ["publish", "gate", "min_f2"], 0.5),
        ("tiny", ["resources"], {"training": {}}),
        ("tiny", ["resources"], {"train": {"cpus": "2"}}),
        ("tiny_faces", ["datasets", "first", "part"], 2),
        ("tiny_faces", ["datasets", "first", "extract"], {"spec": {"extraction": {"face": {}}}}),
    ],
)
def test_a_misspelt_key_is_invalid(validator: Draft202012Validator, name: str, keys: list[str], value: object) -> None:
    recipe = yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text())
    assert validator.is_valid(recipe)
    inner = recipe
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = value
    assert not validator.is_valid(recipe)


def test_every_key_is_described(schema: dict[str, Any]) -> None:
    def described(one: dict[str, Any]) -> bool:
        found = schema["$defs"][one["$ref"].rpartition("/")[2]] if "$ref" in one else {}
        return bool(one.get("description") or found.get("description"))

    definitions = {**schema["$defs"], "PipelineRecipe": schema}
    keys = {f"{name}.{key}": one for name, of in definitions.items() for key, one in of.get("properties", {}).items()}
    assert len(keys) > 150
    assert [key for key, one in keys.items() if not described(one)] == []


def test_the_command_line_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], schema: dict[str, Any]) -> None:
    assert main(["schema", "--output", str(tmp_path / "recipe.json")]) == 0
    assert json.loads((tmp_path / "recipe.json").read_text()) == schema
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema
