"""The dynamic batcher: items of several requests share a forward pass, and none waits behind a large picture.

An item is what a network reads of one tile, one face or one clip: an array for each of its inputs. Each network has its
own queue of jobs. A batch takes items from the job at the head; a job that has items left goes to the end. So a picture
of one tile waits for at most one batch of every larger picture before it. Networks take turns.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundle.analyzers import Item, Outputs
from bundle.document import MODEL
from bundle.runtimes import Run

SMOOTHING = 0.2  # share of the newest batch in the running mean of seconds an item


class NetworkName(NamedTuple):
    """Which network of a bundle: a member's name, and the network's name in it."""

    member: str
    network: str = MODEL


@dataclass(frozen=True)
class Lane:
    """How one network is run.

    Attributes:
        run: from inputs by name [B, ...] to outputs by name, float32 [B, ...].
        max_batch: most items in one forward pass.
        delay: seconds an incomplete batch waits for more items.
        alone: like ``run``, with the threads of all passes: for a batch beside which nothing runs or waits, so that
            the only request there is does not leave processors idle. None where ``run`` serves then too.
    """

    run: Run
    max_batch: int
    delay: float = 0.0
    alone: Run | None = None


def stack_items(items: Sequence[Item]) -> dict[str, NDArray[Any]]:
    """Stack items of one network into a batch: by name [B, ...], contiguous."""
    # np.stack alone would keep the strides of views.
    return {
        name: np.stack([item[name] for item in items], out=np.empty((len(items), *first.shape), dtype=first.dtype))
        for name, first in items[0].items()
    }


class Job:
    """A network's items of one request.

    Attributes:
        future: becomes the network's outputs by name, float32 [N, …] each, in the order of the items.
        seconds: spent so far in forward passes that held items of this job.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items: Sequence[Item] = items
        self.future: Future[Outputs] = Future()
        self.seconds = 0.0
        self.taken = 0
        self._outputs: Outputs = {}
        self._done = 0
        self._lock = threading.Lock()

    def put(self, start: int, count: int, outputs: Outputs, seconds: float) -> None:
        """Store the outputs of ``count`` items from ``start`` on; those that complete them complete the future."""
        with self._lock:
            for name, array in outputs.items():
                if name not in self._outputs:
                    self._outputs[name] = np.empty((len(self.items), *array.shape[1:]), dtype=np.float32)
                self._outputs[name][start : start + count] = array
            self._done += count
            self.seconds += seconds
            complete = self._done == len(self.items)
            if complete:
                self.items = ()  # views of a picture, which need not wait for its answer
        if complete and self.future.set_running_or_notify_cancel():
            self.future.set_result(self._outputs)

    def fail(self, error: Exception) -> None:
        """Give up; harmless when the future is complete or was cancelled."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


Batch = list[tuple[Job, int, int]]  # job, its first item in this batch, how many


class Batcher:
    """The threads that run the networks.

    Whatever a forward pass raises, or handing its outputs over, concerns the jobs in its batch; the threads go on.

    Args:
        lanes: how each network is run.
        passes: how many forward passes run at one time, a thread each.
        observe: called with network, items and seconds after every forward pass.
    """

    def __init__(
        self,
        lanes: Mapping[NetworkName, Lane],
        *,
        passes: int = 1,
        observe: Callable[[NetworkName, int, float], None] = lambda *_: None,
    ) -> None:
        self._lanes = dict(lanes)
        self._running = 0
        self._observe = observe
        self._jobs: dict[NetworkName, deque[Job]] = {name: deque() for name in lanes}
        self._turns = deque(lanes)
        self._changed = threading.Condition()
        self._stopping = False
        self._item_seconds = dict.fromkeys(lanes, 0.0)
        self.failures = 0
        self._threads = [
            threading.Thread(target=self._loop, name=f"batcher-{number}", daemon=True) for number in range(passes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether every thread still takes jobs."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> int:
        """Items that wait for a forward pass."""
        with self._changed:
            return sum(self._count(name) for name in self._jobs)

    @property
    def backlog_seconds(self) -> float:
        """How long what waits now will take, from each network's mean seconds an item so far."""
        with self._changed:
            seconds = sum(self._count(name) * self._item_seconds[name] for name in self._jobs)
        return seconds / len(self._threads)

    def submit(self, name: NetworkName, items: Sequence[Item]) -> Job:
        """Queue a network's items, as ``submit_all``."""
        return self.submit_all({name: items})[name]

    def submit_all(self, items: Mapping[NetworkName, Sequence[Item]]) -> dict[NetworkName, Job]:
        """Queue items for several networks at the same moment. Cancelling a job's future skips what is left of it.

        Args:
            items: by network what it reads, at least one item for each.

        Raises:
            RuntimeError: after ``stop``.
        """
        jobs = {name: Job(parts) for name, parts in items.items()}
        with self._changed:
            if self._stopping:
                raise RuntimeError("the batcher has stopped")
            for name, job in jobs.items():
                self._jobs[name].append(job)
            self._changed.notify_all()  # the one notified could be waiting for a full batch of another network
        return jobs

    def stop(self) -> None:
        """Finish what is queued, then end the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _loop(self) -> None:
        while (chosen := self._choose()) is not None:
            name, batch, run = chosen
            if batch:
                try:
                    self._forward(name, batch, run)
                except Exception as error:
                    # Whatever was raised concerns these requests; the next batch may be fine.
                    self._give_up(name, [job for job, _, _ in batch], error)
                finally:
                    with self._changed:
                        self._running -= 1

    def _choose(self) -> tuple[NetworkName, Batch, Run] | None:
        with self._changed:
            while (name := self._next()) is None:
                if self._stopping:
                    return None
                self._changed.wait()
            lane = self._lanes[name]
            if lane.delay and not self._stopping:
                deadline = time.monotonic() + lane.delay
                while not self._is_full(name) and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
            batch = self._take(name)
            in_company = self._running or any(self._jobs.values())
            self._running += bool(batch)
            return name, batch, lane.run if in_company or lane.alone is None else lane.alone

    def _next(self) -> NetworkName | None:
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            if self._jobs[self._turns[-1]]:
                return self._turns[-1]
        return None

    def _count(self, name: NetworkName) -> int:
        return sum(len(job.items) - job.taken for job in self._jobs[name] if not job.future.cancelled())

    def _is_full(self, name: NetworkName) -> bool:
        items = 0
        for job in self._jobs[name]:
            if not job.future.cancelled():
                items += len(job.items) - job.taken
            if items >= self._lanes[name].max_batch:  # asked at every submission: the rest of a long queue is not read
                return True
        return False

    def _take(self, name: NetworkName) -> Batch:
        jobs = self._jobs[name]
        batch: Batch = []
        room = self._lanes[name].max_batch
        while jobs and room:
            job = jobs.popleft()
            if job.future.cancelled():
                continue
            count = min(room, len(job.items) - job.taken)
            batch.append((job, job.taken, count))
            job.taken += count
            room -= count
            if job.taken < len(job.items):
                jobs.append(job)  # only when the batch is full: the job cannot come up twice in it
        return batch

    def _forward(self, name: NetworkName, batch: Batch, run: Run) -> None:
        started = time.perf_counter()
        items = [item for job, start, count in batch for item in job.items[start : start + count]]
        outputs = run(stack_items(items))
        seconds = time.perf_counter() - started
        _require_batch(name, outputs, len(items))
        self.failures = 0
        each, before = seconds / len(items), self._item_seconds[name]
        self._item_seconds[name] = before + (each - before) * (SMOOTHING if before else 1)
        self._observe(name, len(items), seconds)
        position = 0
        for job, start, count in batch:
            own = {output: array[position : position + count] for output, array in outputs.items()}
            position += count
            try:
                job.put(start, count, own, seconds)
            except Exception as error:  # such as outputs of another shape than those of the job's first items
                self._give_up(name, [job], error)

    def _give_up(self, name: NetworkName, jobs: Sequence[Job], error: Exception) -> None:
        with self._changed:
            self.failures += 1
            for job in jobs:
                job.fail(error)
                if job in self._jobs[name]:
                    self._jobs[name].remove(job)


def _require_batch(name: NetworkName, outputs: Outputs, count: int) -> None:
    """Check that a network answered for each item; NumPy would spread a single row over them all."""
    for output, array in outputs.items():
        if len(array) != count:
            raise ValueError(f"{name.member}.{name.network} gave {len(array)} rows of {output} for {count} items")
