"""Data parallelism: what the processes of one run do together, on one node or on several."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from components.train.environment import choose_device
from components.train.errors import PeerLostError
from components.train.heartbeat import Heartbeat
from components.train.launching import is_launched
from components.train.recipe import TrainRecipe
from core.errors import SettingsError

# The others wait here while the first writes, waits for the lease of the run's state, or has more to validate.
CONTROL_TIMEOUT = timedelta(hours=12)

T = TypeVar("T")


class Processes:
    """The processes of a run as one of them sees them; with a single one everything is immediate.

    Attributes:
        rank: this process, from 0, over all nodes.
        world: how many there are on all nodes together.
        device: this process's device.
        local: how many there are on this process's node.
    """

    def __init__(
        self,
        rank: int,
        world: int,
        device: torch.device,
        control: dist.ProcessGroup | None = None,
        local: int = 1,
    ) -> None:
        self.rank = rank
        self.world = world
        self.device = device
        self.local = local
        self._control = control

    @property
    def main(self) -> bool:
        """Whether this is the process that decides, writes and speaks."""
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

    def gather_on_main(self, item: T) -> list[T] | None:
        """Return every process's item, by rank, in the main process; None in the others."""
        if self._control is None:
            return [item]
        items: list[Any] | None = [None] * self.world if self.main else None
        dist.gather_object(item, items, dst=0, group=self._control)
        return items

    def from_main(self, produce: Callable[[], T]) -> T:
        """Return in all processes what ``produce`` returns in the main one, which alone calls it."""
        items: list[Any] = [produce() if self.main else None]
        if self._control is not None:
            dist.broadcast_object_list(items, src=0, group=self._control)
        return items[0]  # type: ignore[no-any-return]

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
    """Join the other processes of this run, when torchrun started this one, and leave them at the end.

    Raises:
        SettingsError: when the batch cannot be divided among the processes.
        PeerLostError: when another process ends or is out of reach.
    """
    if not is_launched():
        yield Processes(0, 1, choose_device(recipe.device, 0))
        return
    world = int(os.environ["WORLD_SIZE"])
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    if recipe.batch_size % world:
        raise SettingsError(
            f"batch_size = {recipe.batch_size} counts the samples of all processes together and must be divisible by "
            f"nodes × processes, of which torchrun started {nodes} × {world // nodes} = {world}"
        )
    device = choose_device(recipe.device, int(os.environ["LOCAL_RANK"]))
    with _naming_lost_peers():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            control = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
            assert isinstance(control, dist.ProcessGroup)  # noqa: S101  every rank is a member of a group of all
            local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
            processes = Processes(dist.get_rank(), world, device, control, local)
            with _heartbeat(processes, nodes):
                yield processes
        finally:
            dist.destroy_process_group()


def _heartbeat(processes: Processes, nodes: int) -> AbstractContextManager[object]:
    """Return what notices a node that is gone; within a node, torchrun does."""
    if nodes == 1:
        return nullcontext()
    address = os.environ["MASTER_ADDR"]
    server = TCPStore(address, 0, is_master=True, wait_for_workers=False) if processes.main else None
    port = processes.from_main(lambda: server.port if server else 0)
    store = server or TCPStore(address, port, is_master=False)
    beating = int(os.environ["LOCAL_RANK"]) == 0
    heartbeat = Heartbeat(store, node=int(os.environ["GROUP_RANK"]), nodes=nodes) if beating else nullcontext()
    processes.gather(None)  # all nodes have beaten once before one looks
    return heartbeat


@contextmanager
def _naming_lost_peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # Gloo's own errors have no type; they name the file that they come from.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise PeerLostError(
            "another process of this run has ended or is out of reach, so that this one ends too; the log of the "
            "process that ended first, on whichever node, says why. A new start of all goes on from the last step "
            f"checkpoint. ({str(error).splitlines()[0]})"
        ) from error
