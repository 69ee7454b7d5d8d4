"""Training both families of face classifiers as published, in one process and in two."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.face_models import INPUTS, SETTINGS
from components.train.recipe import TrainRecipe
from components.train.state import RunState
from components.train.step import train
from core.settings import merge, validate
from models.checkpoint import read_checkpoint
from models.genconvit import load_genconvit_from_checkpoint
from models.spotter import load_spotter

LOADERS = {"genconvit": load_genconvit_from_checkpoint, "spotter": load_spotter}
TERMS = {
    "genconvit": {"loss", "cross_entropy_a", "cross_entropy_b", "mse_a", "mse_b", "kl", "kl_warmup"},
    "spotter": {"loss", "clip", "frame"},
}
STEPS = 2  # optimizer steps an epoch, of two batches of four each

# As the papers have it, but for the patience of stopping, which is shortened to the run.
PUBLISHED: dict[str, Any] = {
    "optimizer": {"name": "adamw", "lr": 1e-4, "weight_decay": 1e-4},
    "schedule": {"name": "plateau", "factor": 0.5, "patience": 5, "min_lr": 1e-7},
    "monitor": {"metric": "loss", "mode": "min", "max_authentic_fpr": None},
    "early_stopping": {"patience": 2, "min_delta": 10.0},
    "clip_norm": 1.0,
    "accumulate": 2,
}


def recipe(family: str, **changes: Any) -> TrainRecipe:
    document = {
        "member": family,
        "stage": "v3",
        "family": family,
        "model": SETTINGS[family],
        "input": merge(INPUTS[family], {"views": {"face": {"margin": 1.0}}}),
        "policy": "faces_light",
        "batch_size": 4,
        "epochs": 8,
        "sampling": {"samples_per_epoch": 8 * STEPS},
        "workers": 0,
        "device": "cpu",
    }
    return validate(TrainRecipe, document | PUBLISHED | changes, family)


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", ["genconvit", "spotter"])
def test_the_published_training_stops_early_and_keeps_the_epoch_of_the_lowest_loss(
    family: str, tiny_faces: Path, tmp_path: Path
) -> None:
    train(tiny_faces, tmp_path / "out", recipe(family))
    log = lines(tmp_path / "out")
    assert len(log) == 3  # nothing improves by the delta after the first epoch: two more, then it stops
    assert set(log[0]["train"]) == TERMS[family]
    path = tmp_path / "out" / f"{family}_v3_best.pth"
    losses = [line["val"]["loss"] for line in log]
    assert read_checkpoint(path).epoch == losses.index(min(losses)) + 1
    found = LOADERS[family](path)
    assert found.spec is not None
    assert f"checkpoint of {family}, stage v3" in found.description


def test_the_warm_up_goes_on_where_an_interrupted_training_stopped(
    tiny_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunState, "discard_steps", lambda self: None)
    whole = recipe("genconvit", epochs=2, loss={"kl_warmup_batches": 100}, keep_last=10)
    train(tiny_faces, tmp_path / "out", whole)
    steps = tmp_path / "out.state" / "genconvit_v3" / "steps"
    batches = [int(read_checkpoint(path).model_state_dict["batches"]) for path in sorted(steps.glob("*.pth"))]
    assert batches == [4, 8]
    assert [line["train"]["kl_warmup"] for line in lines(tmp_path / "out")] == pytest.approx([0.025, 0.065])
    (steps / "000001-000000004.pth").unlink()  # what an interruption in the second epoch leaves
    (steps.parent / "finished.json").unlink()
    train(tiny_faces, tmp_path / "again", whole, state=str(tmp_path / "out.state"))
    assert lines(tmp_path / "again")[1]["train"] == lines(tmp_path / "out")[1]["train"]


@pytest.mark.parametrize("family", ["genconvit", "spotter"])
def test_two_processes_train_it(family: str, tiny_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train(tiny_faces, tmp_path / "out", recipe(family, epochs=1, processes=2))
    (line,) = lines(tmp_path / "out")
    assert line["samples"] == 8 * STEPS
    assert all(torch.tensor(value).isfinite() for value in line["train"].values())
    state = read_checkpoint(tmp_path / "out" / f"{family}_v3_best.pth").model_state_dict
    if family == "genconvit":
        assert int(state["batches"]) == 2 * STEPS  # forward passes, whatever the number of processes
    assert not LOADERS[family](tmp_path / "out" / f"{family}_v3_best.pth").network.training
