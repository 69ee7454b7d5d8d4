"""Keys of a recipe given on the command line."""

import json
from pathlib import Path

import pytest
import yaml

from core.errors import SettingsError
from pipelines.__main__ import main
from pipelines.overrides import override
from pipelines.resolution import load_pipeline

TINY = str(Path(__file__).with_name("tiny.yaml"))


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("train.optimizer.lr=1e-5", ["train", "optimizer", "lr"], 1e-5),
        ("train.epochs=3", ["train", "epochs"], 3),
        ("train.clip_norm=null", ["train", "clip_norm"], None),
        ("evaluated=[a, b]", ["evaluated"], ["a", "b"]),
        ("description=a=b", ["description"], "a=b"),
        ("stages.v3.train.policy=native", ["stages", "v3", "train", "policy"], "native"),
    ],
)
def test_a_value_is_read_as_yaml(text: str, path: list[str], value: object) -> None:
    document = {"train": {"epochs": 1, "optimizer": {"name": "adamw"}}, "stages": {"v3": {"dataset": "d"}}}
    found: object = override(document, [text])
    for name in path:
        found = found[name]  # type: ignore[index]
    assert found == value
    assert type(found) is type(value)
    assert document["train"] == {"epochs": 1, "optimizer": {"name": "adamw"}}  # as it was


def test_a_key_of_a_stage_is_overridden_and_all_others_stay() -> None:
    settings = ["stages.v4.train.optimizer.lr=1e-5", "members.high_recall.seed=3", "sweep.gallery=1"]
    before, after = load_pipeline("forgery", TINY), load_pipeline("forgery", TINY, settings)
    assert after.training["high_recall"]["v4"].optimizer.lr == 1e-5
    assert after.training["high_recall"]["v3"].seed == 3
    assert after.training["highres_no_ela"]["v3"] == before.training["highres_no_ela"]["v3"]
    assert after.sweeps["v4"].gallery == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages.v5.train.epochs=1", r"unknown stage 'v5'.*Known: v3, v4"),
        ("datasets.tony.source=x", r"unknown data set 'tony'.*Did you mean 'tiny'"),
        ("members.high_recal.seed=1", r"unknown member 'high_recal'.*Did you mean 'high_recall'"),
        ("stages.v4.trian.epochs=1", r"stages\.v4\.trian = .*: unknown key; allowed: dataset, sweep, train"),
        ("stages.v4.train.epoch=1", r"training recipe of \w+ in stage v4.*epoch = 1: unknown key; allowed: .*epochs"),
        ("stages.v4.train.epochs=many", r"training recipe of \w+ in stage v4.*epochs = 'many'"),
        ("description.text=1", r"description = .* holds no keys"),
        ("train.epochs", r"expected KEY=VALUE"),
        ("=1", r"expected KEY=VALUE"),
        ("train..epochs=1", r"expected KEY=VALUE"),
        ("evaluated=[a", r"not readable as YAML"),
    ],
)
def test_a_wrong_key_is_the_error_that_a_recipe_gives(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s){message}"):
        load_pipeline("forgery", TINY, [text])


def test_the_command_line_takes_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compile", "forgery", "--recipe", TINY, "--tag", "abc", "--output", str(tmp_path)]
    assert main([*command, "--set", "stages.v4.train.epochs=7", "--set", "train.seed=11"]) == 0
    compiled = next(yaml.safe_load_all((tmp_path / "forgery.yaml").read_text()))
    members = compiled["root"]["inputDefinitions"]["parameters"]["members"]["defaultValue"]
    v4 = json.loads(members[0]["recipe_v4"])
    assert (v4["epochs"], v4["seed"]) == (7, 11)
    assert main([*command, "--set", "stages.v5.train.epochs=7"]) == 1
    assert "Known: v3, v4" in capsys.readouterr().err
    assert main(["compile", "--set", "train.seed=1"]) == 1
    assert "of one pipeline" in capsys.readouterr().err
