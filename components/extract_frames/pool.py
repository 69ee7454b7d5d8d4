"""Worker processes that may die: each chunk is done, whatever its entries do to a decoder."""

import os
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType

from components.extract_frames.chunk import Job
from core.errors import VeriframeError
from core.progress import Counter as Progress

# Chunks in work or done that wait for an earlier one, per worker; bounds the disk they take.
_AHEAD = 4
# An entry at which workers die so often is at fault; the first time it may have been a neighbour's use of memory.
_DEATHS = 2


class WorkerError(VeriframeError):
    """A worker process failed in a way that no entry explains."""


class _Worker:
    def __init__(self, source: str) -> None:
        own, other = Pipe()
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "components.extract_frames.worker", str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
            )
        self.connection: Connection = own
        self.connection.send(source)

    def start(self, job: Job) -> None:
        self.job = job
        self.position: int | None = None  # of the entry it works at
        # Where the worker is dead already, the next wait() sees the closed connection.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(job)

    def stop(self) -> str:
        """Kill the process and return how it ended."""
        self.connection.close()
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)  # one that is just dying still has to say of what
            self.process.kill()
        status = self.process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class WorkerPool:
    """A fixed number of worker processes; a context manager that leaves none behind."""

    def __init__(self, source: str, count: int) -> None:
        """Start nothing yet.

        Args:
            source: URI of the layout's root.
            count: how many processes, started as they are needed.
        """
        self._source = source
        self._count = count
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}
        self._deaths: Counter[tuple[str, int]] = Counter()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in (*self._idle, *self._busy.values()):
            worker.process.kill()
            worker.stop()

    def run(
        self, jobs: Iterable[Job | str], progress: Progress, finished: Callable[[str], None] = lambda _: None
    ) -> Iterator[str]:
        """Do all jobs and yield their chunks' names in order.

        Args:
            jobs: chunks to do, and the names of those that are done already.
            progress: counts the entries.
            finished: called with the name of each chunk that a worker has done, in whatever order.

        Raises:
            StorageError: when a worker cannot read the source.
            WorkerError: when workers cannot be started or fail outside of any entry.
        """
        source = iter(jobs)
        order: deque[str] = deque()
        done: set[str] = set()
        exhausted = False
        while True:
            while not exhausted and len(order) < _AHEAD * self._count and self._has_room():
                job = next(source, None)
                if job is None:
                    exhausted = True
                elif isinstance(job, str):
                    order.append(job)
                    done.add(job)
                else:
                    order.append(job.name)
                    self._start(job)
            while order and order[0] in done:
                done.remove(order[0])
                yield order.popleft()
            if exhausted and not order:
                return
            if len(done) < len(order):
                for name in self._collect(progress):
                    finished(name)
                    done.add(name)

    def _has_room(self) -> bool:
        return len(self._busy) < self._count

    def _start(self, job: Job) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._source)
        self._busy[worker.connection] = worker
        worker.start(job)

    def _collect(self, progress: Progress) -> set[str]:
        """Wait for messages and return the names of the chunks that are done."""
        done: set[str] = set()
        for connection in wait(list(self._busy)):
            worker = self._busy[connection]  # type: ignore[index]
            try:
                kind, content = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                self._replace(worker)
                continue
            if kind == "at":
                worker.position = content
                progress.update()
            elif kind == "done":
                done.add(worker.job.name)
                self._idle.append(self._busy.pop(worker.connection))
            elif kind == "failed":
                raise content
            else:
                raise WorkerError(f"a worker failed at {_entry_name(worker)}; this is a mistake in it:\n{content}")
        return done

    def _replace(self, worker: _Worker) -> None:
        """Give the chunk of a dead worker to a fresh one, without the entry that keeps killing workers."""
        del self._busy[worker.connection]
        ending = worker.stop()
        job, position = worker.job, worker.position
        if position is None:
            raise WorkerError(f"a worker process ended before its first entry ({ending}); see its messages above")
        self._deaths[job.name, position] += 1
        if self._deaths[job.name, position] >= _DEATHS:
            detail = f"the process that decodes it was ended by {ending}, {_DEATHS} times"
            job = replace(job, crashed={**job.crashed, position: detail})
        self._start(job)


def _entry_name(worker: _Worker) -> str:
    return "its start" if worker.position is None else worker.job.entries[worker.position].file.key
