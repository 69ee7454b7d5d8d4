"""Adding a family, a view and a task from a folder elsewhere, without touching a file of the project.

Every step runs as the command that a person types, in a process of its own that finds the toys by the environment.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.data import astronaut, chelsea

from core.registry import EXTENSIONS_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).with_name("toys")
Run = Callable[..., str]

TRAINING = {"batch_size": 4, "epochs": 2, "workers": 0, "device": "cpu", "seed": 1, "optimizer": {"lr": 0.05}}
SMALL_PARITY = {"batch_sizes": [1, 2]}


@pytest.fixture
def extension(tmp_path: Path) -> Callable[[str], Run]:
    """Copies a toy into a temporary folder; returns what runs a command that finds it."""

    def copy(toy: str) -> Run:
        shutil.copytree(TOYS / toy, tmp_path / "extension")
        environment = os.environ | {EXTENSIONS_VARIABLE: str(tmp_path / "extension"), "PYTHONPATH": str(ROOT)}

        def run(module: str, *arguments: object) -> str:
            command = [sys.executable, "-m", module, *map(str, arguments)]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            return done.stdout

        return run

    return copy


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_family_needs_a_folder_alone(extension: Callable[[str], Run], tiny_dataset: Path, tmp_path: Path) -> None:
    run = extension("family")
    recipe = TRAINING | {
        "member": "toy",
        "stage": "v3",
        "family": "dot",
        "model": {"width": 8},
        "monitor": {"metric": "f1"},
        "policy": "native",
        "input": {"views": {"tiles": {"size": 64, "overlap": 16}}},
    }
    run(
        "components.train",
        "--dataset",
        tiny_dataset,
        "--recipe",
        write(tmp_path / "r.json", recipe),
        "--output",
        "model",
    )
    settings = write(tmp_path / "e.json", {"name": "toy", "parity": SMALL_PARITY})
    run("components.export", "--dataset", tiny_dataset, "--model", "model", "--recipe", settings, "--output", "bundle")
    cv2.imwrite(str(tmp_path / "cat.png"), chelsea()[..., ::-1])
    report = json.loads(run("bundle", "judge", "bundle", "cat.png"))
    assert report["verdict"] in ("authentic", "forged")
    assert [member["name"] for member in report["members"]] == ["toy"]


def test_an_optional_view_of_its_own_reaches_the_verdict(
    extension: Callable[[str], Run], tiny_faces: Path, tmp_path: Path
) -> None:
    """Where the view shows a face it is judged; where it does not, the only member abstains and nobody speaks."""
    run = extension("view")
    views = {"face": {"size": 32, "margin": 1.0}, "corner": {"size": 32}}
    recipe = TRAINING | {
        "member": "toy",
        "stage": "v3",
        "family": "pair",
        "policy": "faces_light",
        "input": {"views": views},
        "monitor": {"metric": "loss", "mode": "min", "max_authentic_fpr": None},
    }
    run(
        "components.train", "--dataset", tiny_faces, "--recipe", write(tmp_path / "r.json", recipe), "--output", "model"
    )
    settings = write(tmp_path / "e.json", {"name": "toy", "parity": SMALL_PARITY})
    run("components.export", "--dataset", tiny_faces, "--model", "model", "--recipe", settings, "--output", "bundle")
    document = json.loads((tmp_path / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    inputs = document["members"][0]["networks"]["model"]["inputs"]
    assert list(inputs) == ["corner", "corner_present", "face"]
    bright = np.ascontiguousarray(astronaut()[..., ::-1])
    cv2.imwrite(str(tmp_path / "bright.png"), bright)
    cv2.imwrite(str(tmp_path / "dark.png"), bright // 5)
    shown = json.loads(run("bundle", "judge", "bundle", "bright.png"))
    assert (shown["outcome"], shown["abstained"]) == ("judged", [])
    hidden = json.loads(run("bundle", "judge", "bundle", "dark.png"))
    assert (hidden["outcome"], hidden["verdict"], hidden["abstained"]) == ("abstained", None, ["toy"])


def test_a_task_needs_its_two_folders_alone(
    extension: Callable[[str], Run], tiny_dataset: Path, tmp_path: Path
) -> None:
    """Trained, evaluated, exported, published and asked, by the steps that know nothing of it."""
    run = extension("task")
    recipe = TRAINING | {
        "member": "toy",
        "stage": "v3",
        "family": "thumbnet",
        "policy": "none",
        "input": {"views": {"thumb": {"size": 32}}},
        "monitor": {"metric": "accuracy", "max_authentic_fpr": None},
    }
    run(
        "components.train",
        "--dataset",
        tiny_dataset,
        "--recipe",
        write(tmp_path / "r.json", recipe),
        "--output",
        "model",
    )
    run("components.evaluate", "--dataset", tiny_dataset, "--model", "v3=model", "--output", "evaluation")
    settings = write(tmp_path / "e.json", {"name": "toy", "parity": SMALL_PARITY})
    run(
        *("components.export", "--dataset", tiny_dataset, "--model", "model", "--recipe", settings),
        *("--output", "bundle", "--evaluation", "evaluation"),
    )
    limits = {"gate": {"min_accuracy": 0.0, "max_authentic_fpr": 1.0, "robustness_floor": None}}
    gate = write(tmp_path / "p.json", limits)
    published = run(
        *("components.publish", "--bundle", "bundle", "--evaluation", "evaluation", "--store", "store"),
        *("--output", "decision", "--recipe", gate),
    )
    assert "released" in published
    cv2.imwrite(str(tmp_path / "cat.png"), chelsea()[..., ::-1])
    report = json.loads(run("bundle", "judge", "bundle", "cat.png"))
    assert report["verdict"] in ("authentic", "forged")
    assert "Says of which class a picture is." in (tmp_path / "bundle" / "card.md").read_text(encoding="utf-8")
    refused = write(tmp_path / "wrong.json", {"gate": {"min_f1": 0.5}})
    with pytest.raises(AssertionError, match="min_f1"):
        run(
            *("components.publish", "--bundle", "bundle", "--evaluation", "evaluation", "--store", "store"),
            *("--output", "decision", "--recipe", refused),
        )


def test_a_pipeline_needs_a_folder_of_recipes_alone(extension: Callable[[str], Run]) -> None:
    run = extension("pipeline")
    assert "photographs/published" in run("pipelines", "recipes")
    compiled = Path(run("pipelines", "compile", "photographs", "--output", "compiled", "--tag", "0123456789ab").strip())
    assert compiled.name == "photographs.yaml"
