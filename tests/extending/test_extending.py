"""Adding a family, a view, a task, a layout and a pipeline from a folder elsewhere, touching no file of the project.

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
import httpx2
import numpy as np
import pytest
from skimage.data import astronaut, chelsea

from core.registry import EXTENSIONS_VARIABLE
from data.index import read_index
from serving.process import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).with_name("toys")
TRAINING = {"batch_size": 4, "epochs": 2, "workers": 0, "device": "cpu", "seed": 1, "optimizer": {"lr": 0.05}}
SMALL_PARITY = {"batch_sizes": [1, 2]}


class Extension:
    """A toy in a folder of its own, and commands that find it.

    Attributes:
        environment: of processes that find it.
    """

    def __init__(self, toy: str, folder: Path) -> None:
        shutil.copytree(TOYS / toy, folder / "extension")
        self._folder = folder
        self.environment = os.environ | {EXTENSIONS_VARIABLE: str(folder / "extension"), "PYTHONPATH": str(ROOT)}

    def __call__(self, module: str, *arguments: object) -> str:
        """Run a command line of the project; return what it prints."""
        command = [sys.executable, "-m", module, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self._folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def extension(tmp_path: Path) -> Callable[[str], Extension]:
    """Copies a toy into a temporary folder."""
    return lambda toy: Extension(toy, tmp_path)


def infer(url: str, model: str, *arrays: tuple[str, str, np.ndarray]) -> dict[str, np.ndarray]:
    """Ask a server's model about arrays, each given with its name and datatype; return its outputs."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, datatype, array in arrays
    ]
    answer = httpx2.post(f"{url}/v2/models/{model}/infer", json={"inputs": inputs}, timeout=60)
    assert answer.status_code == 200, answer.text
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in answer.json()["outputs"]}


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_family_needs_a_folder_alone(
    extension: Callable[[str], Extension], tiny_dataset: Path, tmp_path: Path
) -> None:
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
    extension: Callable[[str], Extension], tiny_faces: Path, tmp_path: Path
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
    extension: Callable[[str], Extension], tiny_dataset: Path, tmp_path: Path
) -> None:
    """Trained, exported, evaluated, published and asked, by the steps that know nothing of it."""
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
    settings = write(tmp_path / "e.json", {"name": "toy", "parity": SMALL_PARITY})
    run("components.export", "--dataset", tiny_dataset, "--model", "model", "--recipe", settings, "--output", "bundle")
    run(
        *("components.evaluate", "--dataset", tiny_dataset, "--model", "v3=model", "--bundle", "bundle"),
        *("--output", "evaluation"),
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
    with ServerProcess(tmp_path / "bundle", run.environment) as server:
        picture = (tmp_path / "cat.png").read_bytes()
        answer = httpx2.post(f"{server.url}/v1/analyze", files={"file": picture}, params={"digits": 2}, timeout=60)
        assert answer.json() == {"verdict": report["verdict"], "probability": round(report["probability"], 2)}
        documented = httpx2.get(f"{server.url}/openapi.json").json()["paths"]["/v1/analyze"]["post"]["parameters"]
        assert "digits" in {parameter["name"] for parameter in documented}
        outputs = infer(server.url, "toy", ("picture", "UINT8", np.ascontiguousarray(chelsea())))
        assert outputs["probability"] == pytest.approx([report["probability"]], abs=1e-5)
    refused = write(tmp_path / "wrong.json", {"gate": {"min_f1": 0.5}})
    with pytest.raises(AssertionError, match="min_f1"):
        run(
            *("components.publish", "--bundle", "bundle", "--evaluation", "evaluation", "--store", "store"),
            *("--output", "decision", "--recipe", refused),
        )


def test_a_recipe_of_a_task_of_its_own_compiles(extension: Callable[[str], Extension]) -> None:
    run = extension("task")
    compiled = Path(run("pipelines", "compile", "shades", "--output", "compiled", "--tag", "0123456789ab").strip())
    assert compiled.name == "shades.yaml"


def test_a_view_that_is_not_of_pixels_is_trained_on_exported_and_served(
    extension: Callable[[str], Extension], tiny_faces: Path, tmp_path: Path
) -> None:
    """A spectrum in float32: no policy augments it, and the export's parity gate passes."""
    run = extension("spectrum")
    recipe = TRAINING | {
        "member": "toy",
        "stage": "v3",
        "family": "spectral",
        "policy": "faces_light",
        "input": {"views": {"face": {"size": 32, "margin": 1.0}, "spectrum": {"bins": 8}}},
        "monitor": {"metric": "loss", "mode": "min", "max_authentic_fpr": None},
    }
    run(
        "components.train", "--dataset", tiny_faces, "--recipe", write(tmp_path / "r.json", recipe), "--output", "model"
    )
    settings = write(tmp_path / "e.json", {"name": "toy", "parity": SMALL_PARITY})
    run("components.export", "--dataset", tiny_faces, "--model", "model", "--recipe", settings, "--output", "bundle")
    document = json.loads((tmp_path / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert document["members"][0]["networks"]["model"]["inputs"] == {
        "face": {"datatype": "UINT8", "shape": [3, 32, 32]},
        "spectrum": {"datatype": "FP32", "shape": [8]},
        "spectrum_present": {"datatype": "BOOL", "shape": []},
    }
    cv2.imwrite(str(tmp_path / "face.png"), np.ascontiguousarray(astronaut()[..., ::-1]))
    report = json.loads(run("bundle", "judge", "bundle", "face.png"))
    assert (report["outcome"], report["abstained"], report["faces"][0]["abstained"]) == ("judged", [], [])
    with ServerProcess(tmp_path / "bundle", run.environment) as server:
        picture = (tmp_path / "face.png").read_bytes()
        answer = httpx2.post(f"{server.url}/v1/analyze", files={"file": picture}, timeout=60).json()
        assert answer["probability"] == pytest.approx(report["probability"], abs=1e-5)
        faces = ("face", "UINT8", np.zeros((2, 3, 32, 32), np.uint8))
        spectra = ("spectrum", "FP32", np.array([[9.0] * 8, [0.0] * 8], np.float32))
        present = ("spectrum_present", "BOOL", np.array([True, True]))
        logits = infer(server.url, "toy.toy", faces, spectra, present)["logits"]
        assert logits.shape == (2, 1)
        assert logits[0] != pytest.approx(logits[1])


def test_a_layout_needs_a_module_alone(extension: Callable[[str], Extension], tmp_path: Path) -> None:
    run = extension("layout")
    (tmp_path / "source").mkdir()
    for number, name in enumerate(("authentic_1", "authentic_2", "forged_3", "neither")):
        cv2.imwrite(str(tmp_path / f"source/{name}.png"), astronaut()[64 * number :][:64, :64])
    recipe = write(tmp_path / "r.json", {"layout": "by-prefix", "dataset": "toy", "splits": {"all": "test"}})
    run(
        *("components.extract_frames", "--source", "source", "--output", "index", "--shards", "shards"),
        *("--recipe", recipe, "--workers", 1),
    )
    labels = {row["media_id"]: row["label_name"] for row in read_index(tmp_path / "index").rows()}
    assert labels == {
        "toy/authentic_1.png": "authentic",
        "toy/authentic_2.png": "authentic",
        "toy/forged_3.png": "forged",
    }
    assert "neither.png" in (tmp_path / "index/rejected.jsonl").read_text(encoding="utf-8")


def test_a_pipeline_needs_a_folder_of_recipes_alone(extension: Callable[[str], Extension]) -> None:
    run = extension("pipeline")
    assert "photographs/published" in run("pipelines", "recipes")
    compiled = Path(run("pipelines", "compile", "photographs", "--output", "compiled", "--tag", "0123456789ab").strip())
    assert compiled.name == "photographs.yaml"
