"""Killing real processes: what a run reaches must not depend on being interrupted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from torch import Tensor

from components.train.__main__ import main
from components.train.state import RunState
from models.checkpoint import Checkpoint, read_checkpoint

TIMED = ("seconds", "samples_per_s", "data_wait")
PATIENCE = 180  # seconds for a process that is slow on a busy machine


def _run(arguments: list[str]) -> None:
    os.setpgrp()  # so that a signal to its group reaches its loading processes too, and not this one
    RunState.discard_steps = lambda self: None  # type: ignore[method-assign]  # the last one is compared
    torch.set_num_threads(1)
    sys.exit(main(arguments))


def _start(processes: ForkServerContext, dataset: Path, recipe: Path, output: Path) -> BaseProcess:
    """Start the command line in a process of its own, which has all modules already."""
    arguments = [f"--dataset={dataset}", f"--recipe={recipe}", f"--output={output}"]
    process = processes.Process(target=_run, args=(arguments,))
    process.start()
    return process


def _wait(process: BaseProcess) -> int | None:
    process.join(PATIENCE)
    return process.exitcode


def _steps(output: Path) -> list[Path]:
    return sorted(output.parent.glob(f"{output.name}.state/*/steps/[0-9]*.pth"))


def _number(path: Path) -> int:
    """Return the step of a step checkpoint; the number before it is the lease's fence."""
    return int(path.stem.partition("-")[2])


def _stop(process: BaseProcess, output: Path, step: int, number: signal.Signals) -> int | None:
    """Signal the process and its loading processes once the checkpoint of a step is there; return the exit status."""
    deadline = time.monotonic() + PATIENCE
    while not any(_number(path) >= step for path in _steps(output)):
        assert process.is_alive(), "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert process.pid is not None
    os.killpg(process.pid, number)
    return _wait(process)


def _last(output: Path) -> int:
    return _number(_steps(output)[-1])


def _lines(output: Path) -> list[dict]:
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMED} for line in lines]


def _assert_equal(left: object, right: object, path: str = "") -> None:
    if isinstance(left, Tensor):
        assert left.dtype == right.dtype and left.numpy().tobytes() == right.numpy().tobytes(), path
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            _assert_equal(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), path
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            _assert_equal(a, b, f"{path}[{number}]")
    else:
        assert left == right, path


INTERRUPTED = {
    "epochs": 3, "batch_size": 2, "accumulate": 2, "clip_norm": 1.0, "ema_decay": 0.9, "workers": 1,
    "checkpoint_every_steps": 1, "keep_last": 3,
    "schedule": {"name": "plateau", "patience": 0, "warmup_epochs": 0.5, "interval": "step"},
    "sampling": {"samples_per_epoch": 60},
}  # fmt: skip


def _assert_resumed(processes: ForkServerContext, dataset: Path, keys: dict, folder: Path) -> None:
    """Run undisturbed, and run killed and terminated on the way; assert that both reach the same."""
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(keys))
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    reference = _start(processes, dataset, recipe, undisturbed)

    assert _stop(_start(processes, dataset, recipe, disturbed), disturbed, 3, signal.SIGKILL) == -signal.SIGKILL
    killed_at = _last(disturbed)
    assert 3 <= killed_at < 45
    assert _stop(_start(processes, dataset, recipe, disturbed), disturbed, 20, signal.SIGTERM) == 143
    terminated_at = _last(disturbed)
    assert killed_at < terminated_at < 45
    assert not (disturbed / "model.json").exists()
    assert _wait(_start(processes, dataset, recipe, disturbed)) == 0

    assert _wait(reference) == 0
    assert [_number(path) for path in _steps(disturbed)] == [_number(path) for path in _steps(undisturbed)]
    assert [path.stem[:6] for path in (_steps(undisturbed)[-1], _steps(disturbed)[-1])] == ["000001", "000003"]
    last, expected = (read_checkpoint(_steps(output)[-1]) for output in (disturbed, undisturbed))
    assert last.sampler_position == {"epoch": 2, "step": 15}
    for part in ("model_state_dict", "ema_state_dict", "optimizer_state_dict", "scheduler_state_dict", "random_states"):
        _assert_equal(getattr(last, part), getattr(expected, part), part)
    assert _lines(disturbed) == _lines(undisturbed)
    best = "tiny_v3_best.pth"
    assert (disturbed / best).read_bytes() == (undisturbed / best).read_bytes()


def test_a_run_killed_and_terminated_on_the_way_reaches_the_same_bits_as_an_undisturbed_one(
    clean_processes, tiny_dataset, tiny_recipe, tmp_path
):
    # Everything that has a state takes part: dropout, averaged weights, accumulation, clipping, warm-up, the plateau's
    # counters, loading processes.
    tiny_recipe["model"]["dropout"] = 0.3
    _assert_resumed(clean_processes, tiny_dataset, tiny_recipe | INTERRUPTED, tmp_path)


def test_a_run_on_clips_of_faces_and_pseudo_fakes_goes_on_as_exactly(
    clean_processes, tiny_faces, tiny_recipe, tmp_path
):
    faces = {
        "family": "spotter",
        "model": {"backbone": "test_efficientnet", "weights": "random", "pyramid_channels": 16, "gru_width": 8},
        "input": {"views": {"face": {"size": 64, "margin": 1.0}}, "frames": 3},
        "policy": "faces",
        "monitor": {"metric": "auc"},
    }
    sampling = {"samples_per_epoch": 60, "balanced": True, "pseudo_fakes": {"probability": 0.3}}
    _assert_resumed(clean_processes, tiny_faces, tiny_recipe | INTERRUPTED | faces | {"sampling": sampling}, tmp_path)


def _write_for_ever(folder: Path) -> None:
    state = RunState(str(folder), "run", keep_last=2)
    for step in range(1_000_000):
        state.save_step(step, Checkpoint(epoch=0, model_state_dict={"weight": torch.full((200_000,), float(step))}))


def test_a_kill_while_checkpoints_are_written_never_leaves_half_of_one(clean_processes, tmp_path):
    chance = random.Random(0)
    for number in range(8):
        folder = tmp_path / str(number)
        writer = clean_processes.Process(target=_write_for_ever, args=(folder,))
        writer.start()
        while not list(folder.glob("run/steps/[0-9]*.pth")):
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.05))
        writer.kill()
        writer.join()
        complete = sorted(folder.glob("run/steps/[0-9]*.pth"))
        for path in complete:
            assert torch.equal(
                read_checkpoint(path).model_state_dict["weight"], torch.full((200_000,), float(_number(path)))
            )
        latest = RunState(str(folder), "run", keep_last=2).latest()
        assert latest is not None
        assert latest.model_state_dict["weight"][0] == _number(complete[-1])


def test_the_command_line_saves_at_once_on_a_sigterm_and_exits_with_143(tiny_dataset, tiny_recipe, tmp_path):
    tiny_recipe |= {"epochs": 1, "checkpoint_every_steps": 50, "sampling": {"samples_per_epoch": 40_000}}
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(tiny_recipe))
    output = tmp_path / "out"
    command = [sys.executable, "-m", "components.train", f"--dataset={tiny_dataset}", f"--recipe={recipe}"]
    process = subprocess.Popen([*command, f"--output={output}"], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + PATIENCE
    while not _steps(output):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.terminate()
    assert process.wait(PATIENCE) == 143
    assert 50 < _last(output) < 100
