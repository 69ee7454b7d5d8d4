"""Data parallelism: what the processes of one run do together, and starting them with torchrun."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import components
from components.train.environment import choose_device
from components.train.errors import ProcessesFailedError
from components.train.recipe import TrainRecipe
from components.train.termination import EXIT_STATUS
from core.files import write_text
from core.processors import openmp_variables

# The others wait here while the first validates or writes, which may take long on large data.
CONTROL_TIMEOUT = timedelta(hours=12)

T = TypeVar("T")


class Processes:
    """The processes of a run as one of them sees them; with a single one everything is immediate.

    Attributes:
        rank: this process, from 0.
        world: how many there are.
        device: this process's device.
    """

    def __init__(self, rank: int, world: int, device: torch.device, control: dist.ProcessGroup | None = None) -> None:
        self.rank = rank
        self.world = world
        self.device = device
        self._control = control

    @property
    def main(self) -> bool:
        """Whether this is the process that validates, writes and speaks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        if self._control is None:
            return flag
        tensor = torch.tensor(int(flag))
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._control)
        return bool(tensor)

    def gather(self, item: T) -> list[T]:
        """Return every process's item, by rank."""
        if self._control is None:
            return [item]
        items: list[Any] = [None] * self.world
        dist.all_gather_object(items, item, group=self._control)
        return items

    def from_main(self, item: T | None) -> T:
        """Return the main process's item."""
        items = [item]
        if self._control is not None:
            dist.broadcast_object_list(items, src=0, group=self._control)
        return items[0]  # type: ignore[return-value]

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return ``network`` with its gradients averaged over the processes."""
        if self._control is None:
            return network
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == "cuda" else None)

    def accumulating(self, model: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Return the context of one of several backward passes: gradients are averaged after the last alone."""
        return nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync()


@contextmanager
def join(recipe: TrainRecipe) -> Iterator[Processes]:
    """Join the other processes of this run, when torchrun started this one, and leave them at the end."""
    if not dist.is_torchelastic_launched():
        yield Processes(0, 1, choose_device(recipe.device, 0))
        return
    device = choose_device(recipe.device, int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        control = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
        assert isinstance(control, dist.ProcessGroup)  # noqa: S101  every rank is a member of a group of all
        yield Processes(dist.get_rank(), dist.get_world_size(), device, control)
    finally:
        dist.destroy_process_group()


def must_launch(recipe: TrainRecipe) -> bool:
    """Return whether this process has to start the training processes instead of being one of them."""
    return recipe.processes > 1 and not dist.is_torchelastic_launched()


def launch(recipe: TrainRecipe, arguments: Sequence[str]) -> None:
    """Run ``python -m components.train`` in ``recipe.processes`` processes and wait for them.

    A SIGTERM is passed on to them; they save and end.

    Args:
        recipe: written to a file for them.
        arguments: of the command line, but for the recipe.

    Raises:
        ProcessesFailedError: when one of them fails.
        SystemExit: with 143 after a SIGTERM.
    """
    root = str(Path(components.__file__).parent.parent)
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    with tempfile.TemporaryDirectory(prefix="veriframe-recipe-") as folder:
        file = Path(folder) / "recipe.json"
        write_text(file, recipe.to_json())
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={recipe.processes}"]
        command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=localhost"]
        command += ["-m", "components.train", f"--recipe={file}", *arguments]
        variables = openmp_variables(recipe.processes) | {"PYTHONPATH": path}
        process = subprocess.Popen(command, env=os.environ | variables)
        try:
            status = process.wait()
        except SystemExit:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if status in (EXIT_STATUS, -signal.SIGTERM):
        raise SystemExit(EXIT_STATUS)
    if status:
        raise ProcessesFailedError(
            f"one of the {recipe.processes} training processes failed (status {status}); its error is above"
        )
