"""What every task's declaration must keep, whichever tasks there are."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from tasks.task import TASKS, Task

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=TASKS.names())
def task(request) -> Task:
    return TASKS.get(request.param)


def _settings(task: Task) -> list[type[BaseModel]]:
    classes = [task.sampling, task.evaluate_settings, task.export_settings, task.gate_settings, task.sweep_settings]
    return [found for found in classes if found is not None]


def test_the_gate_names_keys_of_its_settings(task):
    names = [figure.name for figure in task.gate_figures]
    assert len(set(names)) == len(names) and "authentic_fpr" in names
    assert {figure.key for figure in task.gate_figures} <= set(task.gate_settings.model_fields)
    assert all(figure.higher_is_better == (figure.name != "authentic_fpr") for figure in task.gate_figures)


def test_every_key_is_documented_and_every_default_valid(task):
    for settings in _settings(task):
        assert [name for name, field in settings.model_fields.items() if not field.description] == []
        assert settings.model_validate(settings().model_dump(mode="json")) == settings()


def test_a_sweep_has_settings_and_a_function_or_neither(task):
    assert (task.sweep is None) == (task.sweep_settings is None)


def test_looking_tasks_up_imports_nothing_heavy():
    program = (
        "import sys\nfrom tasks.task import TASKS\n[TASKS.get(name) for name in TASKS.names()]\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'scipy', 'albumentations', 'pandas', 'matplotlib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
