"""The dynamic batcher: items of several requests share a forward pass, and none waits behind a large picture.

An item is what a network reads of one tile or one face: an array for each of its inputs. Each member has its own queue
of jobs. A batch takes items from the job at the head; a job that has items left goes to the end. So a picture of one
tile waits for at most one batch of every larger picture before it. Members take turns.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.runtimes import Run
from bundle.serving import Item, Outputs

SMOOTHING = 0.2  # share of the newest batch in the running mean of seconds an item


def stack_items(items: Sequence[Item]) -> dict[str, NDArray[Any]]:
    """Stack items of one network into a batch: by name [B, ...], contiguous."""
    # np.stack alone would keep the strides of views.
    return {
        name: np.stack([item[name] for item in items], out=np.empty((len(items), *first.shape), dtype=first.dtype))
        for name, first in items[0].items()
    }


class Job:
    """A member's items of one request.

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

    Args:
        run: by member name, its network: from inputs by name [B, ...] to outputs by name, float32 [B, ...].
        max_batch: most items in one forward pass.
        delay: seconds an incomplete batch waits for more items.
        passes: how many forward passes run at one time, a thread each.
        alone: like ``run``, with the threads of all passes: for a batch beside which nothing runs or waits, so that
            the only request there is does not leave processors idle. None where ``run`` has them all.
        observe: called with member, items and seconds after every forward pass.
    """

    def __init__(
        self,
        run: Mapping[str, Run],
        *,
        max_batch: int,
        delay: float,
        passes: int = 1,
        alone: Mapping[str, Run] | None = None,
        observe: Callable[[str, int, float], None] = lambda *_: None,
    ) -> None:
        self._run = run
        self._alone = alone or run
        self._running = 0
        self._max_batch = max_batch
        self._delay = delay
        self._observe = observe
        self._jobs: dict[str, deque[Job]] = {name: deque() for name in run}
        self._turns = deque(run)
        self._changed = threading.Condition()
        self._stopping = False
        self._item_seconds = 0.0
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
            return sum(self._count(member) for member in self._jobs)

    @property
    def backlog_seconds(self) -> float:
        """How long what waits now will take, from the mean seconds an item so far."""
        return self.waiting * self._item_seconds / len(self._threads)

    def submit(self, member: str, items: Sequence[Item]) -> Job:
        """Queue a member's items, as ``submit_all``."""
        return self.submit_all({member: items})[member]

    def submit_all(self, items: Mapping[str, Sequence[Item]]) -> dict[str, Job]:
        """Queue items for several members at the same moment. Cancelling a job's future skips what is left of it.

        Args:
            items: by member name what its network reads, at least one item for each.

        Raises:
            RuntimeError: after ``stop``.
        """
        jobs = {member: Job(parts) for member, parts in items.items()}
        with self._changed:
            if self._stopping:
                raise RuntimeError("the batcher has stopped")
            for member, job in jobs.items():
                self._jobs[member].append(job)
            self._changed.notify_all()  # the one notified could be waiting for a full batch of another member
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
            member, batch, run = chosen
            if batch:
                self._forward(member, batch, run)
                with self._changed:
                    self._running -= 1

    def _choose(self) -> tuple[str, Batch, Run] | None:
        with self._changed:
            while (member := self._next_member()) is None:
                if self._stopping:
                    return None
                self._changed.wait()
            if self._delay and not self._stopping:
                deadline = time.monotonic() + self._delay
                while not self._is_full(member) and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
            batch = self._take(self._jobs[member])
            runs = self._run if self._running or any(self._jobs.values()) else self._alone
            self._running += bool(batch)
            return member, batch, runs[member]

    def _next_member(self) -> str | None:
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            if self._jobs[self._turns[-1]]:
                return self._turns[-1]
        return None

    def _count(self, member: str) -> int:
        return sum(len(job.items) - job.taken for job in self._jobs[member] if not job.future.cancelled())

    def _is_full(self, member: str) -> bool:
        items = 0
        for job in self._jobs[member]:
            if not job.future.cancelled():
                items += len(job.items) - job.taken
            if items >= self._max_batch:  # asked at every submission, so the rest of a long queue is not looked at
                return True
        return False

    def _take(self, jobs: deque[Job]) -> Batch:
        batch: Batch = []
        room = self._max_batch
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

    def _forward(self, member: str, batch: Batch, run: Run) -> None:
        started = time.perf_counter()
        try:
            items = [item for job, start, count in batch for item in job.items[start : start + count]]
            outputs = run(stack_items(items))
        except Exception as error:
            # Whatever the runtime raised concerns these requests; the next batch may be fine.
            with self._changed:
                self.failures += 1
                for job, _, _ in batch:
                    job.fail(error)
                    if job in self._jobs[member]:
                        self._jobs[member].remove(job)
            return
        self.failures = 0
        seconds = time.perf_counter() - started
        each = seconds / len(items)
        self._item_seconds += (each - self._item_seconds) * (SMOOTHING if self._item_seconds else 1)
        self._observe(member, len(items), seconds)
        position = 0
        for job, start, count in batch:
            own = {name: array[position : position + count] for name, array in outputs.items()}
            job.put(start, count, own, seconds)
            position += count
