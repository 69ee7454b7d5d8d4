"""The page of every step says what its component takes and gives, and what its command line takes."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from components.extract_frames.recipe import ExtractRecipe
from components.publish.recipe import PublishRecipe
from components.train.recipe import TrainRecipe
from core.settings import Settings, parse
from tasks.task import TASKS

COMPONENTS = Path(__file__).resolve().parents[2] / "components"
STEPS = sorted(path.parent.name for path in COMPONENTS.glob("*/component.py"))
REGIONS = TASKS.get("regions")  # whose steps the examples are of
RECIPES: dict[str, type[Settings] | None] = {
    "evaluate": REGIONS.evaluate_settings,
    "export": REGIONS.export_settings,
    "extract_frames": ExtractRecipe,
    "publish": PublishRecipe,
    "sweep_hard_negatives": REGIONS.sweep_settings,
    "train": TrainRecipe,
}
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)")


def section(step: str, title: str) -> str:
    """The text below one heading of a step's page."""
    text = (COMPONENTS / step / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found, f"components/{step}/README.md has no section {title!r}"
    return found.group(1)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [[name.strip("`"), *others] for name, *others in cells]


def kind(spec: object) -> str:
    name = str(spec.type).removeprefix("system.").partition("@")[0]  # type: ignore[attr-defined]
    return f"list of {name}" if getattr(spec, "is_artifact_list", False) else name


def specification(step: str) -> object:
    return getattr(import_module(f"components.{step}.component"), step).component_spec


@pytest.mark.parametrize("step", STEPS)
def test_inputs_and_outputs_are_those_of_the_component(step: str) -> None:
    spec = specification(step)
    inputs = [
        [name, kind(one), "no" if one.optional else "yes", " ".join(one.description.split())]
        for name, one in spec.inputs.items()  # type: ignore[attr-defined]
    ]
    outputs = [
        [name, kind(one), " ".join(one.description.split())]
        for name, one in spec.outputs.items()  # type: ignore[attr-defined]
    ]
    assert rows(section(step, "Inputs")) == inputs
    assert rows(section(step, "Outputs")) == outputs


@pytest.mark.parametrize("step", STEPS)
def test_options_are_those_of_the_command_line(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = import_module(f"components.{step}.__main__").main
    with pytest.raises(SystemExit):
        main(["--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0]
    options = set(OPTION.findall(usage)) - {"--help"}
    page = section(step, "Command line")
    assert {row[0] for row in rows(page)} == options
    assert f"python -m components.{step} " in page
    shown = set(OPTION.findall(page.partition("|")[0]))
    required = set(OPTION.findall(re.sub(r"\[.*?\]", "", usage, flags=re.DOTALL)))
    assert required <= shown <= options


@pytest.mark.parametrize("step", STEPS)
def test_the_example_names_inputs_of_the_component(step: str) -> None:
    code = re.search(r"```python\n(.*?)```", section(step, "Example"), flags=re.DOTALL)
    assert code
    call = ast.parse(code.group(1)).body[-1]
    given = {keyword.arg for node in ast.walk(call) if isinstance(node, ast.Call) for keyword in node.keywords}
    spec = specification(step)
    assert given <= set(spec.inputs)  # type: ignore[attr-defined]
    assert {name for name, one in spec.inputs.items() if not one.optional} <= given  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", STEPS)
def test_the_recipe_of_the_example_is_one(step: str) -> None:
    text = re.search(r"```yaml\n(.*?)```", section(step, "Example"), flags=re.DOTALL)
    model = RECIPES[step]
    assert text and model
    parse(model, text.group(1), f"the example of {step}")


@pytest.mark.parametrize("step", STEPS)
def test_every_argument_is_described_to_kfp(step: str) -> None:
    spec = specification(step)
    assert spec.description  # type: ignore[attr-defined]
    described = {**spec.inputs, **spec.outputs}  # type: ignore[attr-defined]
    assert [name for name, one in described.items() if not one.description] == []
