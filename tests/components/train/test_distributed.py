"""Two real processes over gloo."""

import json
import os
import signal
import socket
import sys
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from components.train import step
from components.train.__main__ import main
from components.train.distributed import Processes
from components.train.errors import ProcessesFailedError
from components.train.launching import LAUNCHED, launch, must_launch
from components.train.recipe import TrainRecipe
from components.train.sampling import draw
from components.train.state import RunState
from core.errors import SettingsError
from core.settings import load
from data.index import read_index
from data.labels import is_manipulated
from models.checkpoint import read_checkpoint
from tasks.regions import training
from tasks.sampling_weights import drawn_weights, row_weights

PATIENCE = 240  # seconds
BATCHES = 24  # an epoch


@pytest.fixture
def recipe(tiny_recipe, tmp_path) -> Path:
    path = tmp_path / "recipe.json"
    tiny_recipe["model"]["dropout"] = 0.3  # every process draws its own random numbers
    tiny_recipe |= {"processes": 2, "accumulate": 2, "checkpoint_every_steps": 1, "keep_last": 100}
    tiny_recipe |= {"sampling": {"samples_per_epoch": 4 * BATCHES}}
    path.write_text(json.dumps(tiny_recipe))
    return path


def _start(processes: ForkServerContext, target, *arguments) -> BaseProcess:
    process = processes.Process(target=target, args=arguments)
    process.start()
    return process


def _train_as_rank(rank: int, port: int, dataset: Path, recipe: Path, output: Path) -> None:
    """Be one of two processes, with the environment that torchrun gives, and note what was drawn and reached."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    os.environ |= {"MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    drawn = []

    class Recording(training.PictureDataset):
        def __getitem__(self, key):
            drawn.append(key)
            return super().__getitem__(key)

    class Keeping(step.Trainer):
        def run(self):
            super().run()
            notes = {"drawn": drawn, "weights": dict(self.network.named_parameters())}
            torch.save(notes, output.parent / f"rank{rank}.pt")

    training.PictureDataset, step.Trainer = Recording, Keeping  # type: ignore[misc]
    RunState.discard_steps = lambda self: None  # type: ignore[method-assign]
    step.train(dataset, output, load(TrainRecipe, recipe))


def _train_on_two(processes: ForkServerContext, dataset: Path, recipe: Path, output: Path) -> None:
    output.parent.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    ranks = [_start(processes, _train_as_rank, rank, port, dataset, recipe, output) for rank in (0, 1)]
    for process in ranks:
        process.join(PATIENCE)
        assert process.exitcode == 0


def _command_line(arguments: list[str]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.exit(main(arguments))


def _terminate_on_two(processes: ForkServerContext, dataset: Path, recipe: Path, output: Path) -> int | None:
    """Start the command line, which calls torchrun, and terminate it at its first checkpoint; return its status."""
    arguments = [f"--dataset={dataset}", f"--recipe={recipe}", f"--output={output}"]
    process = _start(processes, _command_line, arguments)
    deadline = time.monotonic() + PATIENCE
    while not list(output.parent.glob("out.state/tiny_v3/steps/[0-9]*.pth")):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(PATIENCE)
    return process.exitcode


def test_two_processes_reach_the_same_weights_on_the_samples_of_one_and_survive_a_termination(
    clean_processes, tiny_dataset, recipe, tmp_path
):
    whole, cut = tmp_path / "whole" / "out", tmp_path / "cut" / "out"
    _train_on_two(clean_processes, tiny_dataset, recipe, whole)
    ranks = [torch.load(whole.parent / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in ranks[0]["weights"].items():
        assert torch.equal(value, ranks[1]["weights"][name]), name

    parsed = load(TrainRecipe, recipe)
    split = read_index(tiny_dataset).where(split="train")
    sampling = parsed.parsed_sampling
    weights = drawn_weights(row_weights(split, frozenset(), sampling), is_manipulated(split.column("label")), sampling)
    alone = [np.stack(draw(weights, parsed.seed, epoch, 4 * BATCHES), axis=1) for epoch in (0, 1)]
    halves = [np.array(notes["drawn"]).reshape(2, BATCHES, 2, 2) for notes in ranks]  # epoch, batch, place, (row, seed)
    together = np.concatenate(halves, axis=2).reshape(2, 4 * BATCHES, 2)
    assert np.array_equal(together, np.stack(alone))

    assert _terminate_on_two(clean_processes, tiny_dataset, recipe, cut) == 143
    done = len(list(cut.parent.glob("out.state/tiny_v3/steps/[0-9]*.pth")))
    assert 0 < done < BATCHES
    _train_on_two(clean_processes, tiny_dataset, recipe, cut)
    names = ((cut, f"000002-{BATCHES:09d}.pth"), (whole, f"000001-{BATCHES:09d}.pth"))
    last = [read_checkpoint(out.parent / "out.state/tiny_v3/steps" / name) for out, name in names]
    for name, value in last[0].model_state_dict.items():
        assert torch.equal(value, last[1].model_state_dict[name]), name
    assert (cut / "tiny_v3_best.pth").read_bytes() == (whole / "tiny_v3_best.pth").read_bytes()
    lines = [json.loads((out / "log.jsonl").read_text().splitlines()[-1]) for out in (cut, whole)]
    assert lines[0]["train"] == lines[1]["train"]
    assert lines[0]["samples"] == 4 * BATCHES


def test_two_processes_take_the_steps_of_one(clean_processes, tiny_dataset, tiny_recipe, tmp_path):
    """But for dropout, which every process draws for itself: it is left out here, and batch statistics are frozen."""
    tiny_recipe["model"] |= {"gate": "none", "dropout": 0.0}
    tiny_recipe |= {"freeze": ["fpn.encoder.*"], "optimizer": {"name": "sgd", "lr": 0.05}, "accumulate": 2}
    tiny_recipe |= {"sampling": {"samples_per_epoch": 64}, "epochs": 1}  # eight steps
    outputs = {count: tmp_path / str(count) / "out" for count in (1, 2)}
    for count, output in outputs.items():
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps(tiny_recipe | {"processes": count}))
        if count == 1:
            step.train(tiny_dataset, output, load(TrainRecipe, path))
        else:
            _train_on_two(clean_processes, tiny_dataset, path, output)
    alone, together = (read_checkpoint(output / "tiny_v3_best.pth") for output in outputs.values())
    for name, value in alone.model_state_dict.items():
        torch.testing.assert_close(together.model_state_dict[name], value, rtol=1e-4, atol=1e-6)
    lines = [json.loads((out / "log.jsonl").read_text().splitlines()[-1])["train"] for out in outputs.values()]
    assert lines[1] == pytest.approx(lines[0], rel=1e-5)


def test_a_failing_process_fails_the_run(recipe, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ProcessesFailedError, match=r"one of the training processes failed \(status 1\)"):
        launch(load(TrainRecipe, recipe), [])


def test_only_a_recipe_of_several_processes_is_launched_and_only_once(recipe, monkeypatch):
    several = load(TrainRecipe, recipe)
    assert must_launch(several)
    assert not must_launch(several.model_copy(update={"processes": 1}))
    monkeypatch.setenv("PET_NNODES", "2")  # a pod of Kubeflow Trainer
    assert must_launch(several.model_copy(update={"processes": 1}))
    for name in LAUNCHED:
        monkeypatch.setenv(name, "0")
    assert not must_launch(several)


def test_several_nodes_need_to_be_told_where_they_meet(recipe):
    with pytest.raises(SettingsError, match="nodes = 2: start the step on every node, with PET_NNODES"):
        launch(load(TrainRecipe, recipe).model_copy(update={"nodes": 2}), [])


def test_a_single_process_talks_to_itself():
    alone = Processes(0, 1, torch.device("cpu"))
    network = torch.nn.Linear(1, 1)
    assert alone.main
    assert alone.wrap(network) is network
    assert alone.gather(3) == [3]
    assert alone.gather_on_main(3) == [3]
    assert alone.from_main(lambda: "x") == "x"
    assert alone.any(True) and not alone.any(False)
