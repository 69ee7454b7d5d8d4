"""One run on two nodes, which are groups of processes of this machine that meet at an address of their own.

Once by torchrun, with what Kubeflow Trainer puts into a pod's environment; else the processes are started with what
torchrun puts into theirs, from a server that has all modules already.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from components.train.__main__ import main
from models.checkpoint import read_checkpoint

PATIENCE = 300  # seconds
EPOCHS, STEPS = 2, 24
ADDRESS = "127.0.0.2"


@pytest.fixture
def recipe(tiny_recipe) -> dict:
    """A recipe whose network draws nothing, whose loss is a mean over pixels, and whose training is not chaotic.

    Batch normalisation of a few pixels under random weights multiplies a rounding twentyfold a step.
    """
    tiny_recipe["model"] |= {"dropout": 0.0, "gate": "none"}
    tiny_recipe["freeze"] = ["fpn.encoder.*"]
    tiny_recipe |= {"batch_size": 4, "epochs": EPOCHS, "workers": 0, "checkpoint_every_steps": 1, "keep_last": 2}
    tiny_recipe |= {"sampling": {"samples_per_epoch": 4 * STEPS}, "optimizer": {"name": "sgd", "lr": 0.005}}
    tiny_recipe |= {"loss": {"dice_weight": 0.0, "authentic_weight": 0.0, "focal_weight": 10.0}}
    return dict(tiny_recipe)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def _arguments(dataset: Path, recipe: dict, folder: Path, node: int) -> list[str]:
    """Return the command line of a node; all but the first have no way to state and output."""
    file = folder / "recipe.json"
    file.write_text(json.dumps(recipe))
    root = Path("/proc/nowhere") if node else folder
    return [f"--dataset={dataset}", f"--recipe={file}", f"--output={root / 'out'}", f"--state={root / 'state'}"]


def _start_pods(dataset: Path, recipe: dict, folder: Path) -> list["subprocess.Popen[str]"]:
    """Start the step on two nodes of two processes."""
    meeting = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "2", "PET_MASTER_ADDR": ADDRESS}
    meeting |= {"PET_MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": "1"}
    pods = []
    for node in (0, 1):
        command = [sys.executable, "-m", "components.train", *_arguments(dataset, recipe, folder, node)]
        with (folder / f"pod{node}.log").open("w") as log:
            environment = os.environ | meeting | {"PET_NODE_RANK": str(node)}
            pods.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True))
    return pods


def _be_node(node: int, port: int, arguments: list[str], log: Path) -> None:
    os.environ |= {"RANK": str(node), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= {"GROUP_RANK": str(node), "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": ADDRESS, "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with log.open("w") as stream:
        sys.stdout = sys.stderr = stream
        status = main(arguments)
    sys.exit(status)


def _start_nodes(processes: ForkServerContext, dataset: Path, recipe: dict, folder: Path) -> list[BaseProcess]:
    """Start two nodes of one process."""
    port = _free_port()
    nodes: list[BaseProcess] = []
    for node in (0, 1):
        arguments = _arguments(dataset, recipe, folder, node)
        nodes.append(processes.Process(target=_be_node, args=(node, port, arguments, folder / f"node{node}.log")))
        nodes[-1].start()
    return nodes


def _exit_statuses(nodes: list[BaseProcess]) -> list[int | None]:
    for node in nodes:
        node.join(PATIENCE)
    return [node.exitcode for node in nodes]


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("state/tiny_v3/steps/[0-9]*.pth"))


def _wait_for_step(folder: Path, step: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not any(found >= step for found in _steps(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_on_two_nodes_goes_on_on_fewer_and_reaches_what_one_process_reaches(
    clean_processes, tiny_dataset, recipe, tmp_path
):
    # Two nodes of two processes, until one is told to stop, and that not the one that writes.
    pods = _start_pods(tiny_dataset, recipe | {"nodes": 2, "processes": 2}, tmp_path)
    _wait_for_step(tmp_path, 3)
    pods[1].terminate()
    assert [pod.wait(PATIENCE) for pod in pods] == [143, 143]
    stopped = _steps(tmp_path)[-1]
    assert 3 <= stopped < EPOCHS * STEPS - 3

    # Two of one, until one loses its power.
    nodes = _start_nodes(clean_processes, tiny_dataset, recipe | {"nodes": 2, "processes": 1}, tmp_path)
    _wait_for_step(tmp_path, stopped + 3)
    nodes[1].kill()
    assert _exit_statuses(nodes) == [1, -signal.SIGKILL]
    log = (tmp_path / "node0.log").read_text()
    assert f"goes on after step {stopped}" in log
    assert "error: another process of this run has ended or is out of reach" in log
    assert stopped + 3 <= _steps(tmp_path)[-1] < EPOCHS * STEPS

    # One process.
    arguments = _arguments(tiny_dataset, recipe, tmp_path, 0)
    assert main(arguments) == 0
    assert main([*arguments[:2], f"--output={tmp_path / 'undisturbed'}"]) == 0
    found, expected = (read_checkpoint(tmp_path / name / "tiny_v3_best.pth") for name in ("out", "undisturbed"))
    assert found.epoch == expected.epoch
    for name, value in expected.model_state_dict.items():
        error = float((found.model_state_dict[name] - value).abs().max())
        assert error <= 1e-4 * float(value.abs().max()) + 1e-6, name
    lines = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("out", "undisturbed")
    ]
    for one, other in zip(*lines, strict=True):
        assert one["train"]["loss"] == pytest.approx(other["train"]["loss"], rel=1e-4)
        assert one["val"] == pytest.approx(other["val"], rel=1e-3)
        assert one["samples"] == other["samples"] == 4 * STEPS


def test_two_nodes_end_alike_and_the_first_alone_writes(clean_processes, tiny_dataset, recipe, tmp_path):
    recipe |= {"epochs": 1, "sampling": {"samples_per_epoch": 8}, "nodes": 2, "processes": 1}
    assert _exit_statuses(_start_nodes(clean_processes, tiny_dataset, recipe, tmp_path)) == [0, 0]
    assert (tmp_path / "out" / "model.json").exists()
    assert _steps(tmp_path) == []
    printed = [(tmp_path / f"node{node}.log").read_text().count("tiny_v3_best.pth: epoch 1 of 1") for node in (0, 1)]
    assert printed == [1, 0]


def test_a_batch_that_cannot_be_divided_among_the_processes_names_nodes_and_processes(
    clean_processes, tiny_dataset, recipe, tmp_path
):
    nodes = _start_nodes(clean_processes, tiny_dataset, recipe | {"batch_size": 3}, tmp_path)
    assert _exit_statuses(nodes) == [1, 1]
    assert "batch_size = 3" in (tmp_path / "node1.log").read_text()
    assert "nodes × processes, of which torchrun started 2 × 1 = 2" in (tmp_path / "node1.log").read_text()
