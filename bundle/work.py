"""What analyzers of every task have in common: stages that are timed, threads, and digests."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import BinaryIO, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 2**20


@dataclass
class Stages:
    """Seconds a request has spent in each of its stages since it was made.

    Args:
        names: of the stages; ``queue`` is one of them.
    """

    names: Sequence[str]
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.seconds = dict.fromkeys(self.names, 0.0)

    def timed(self, stage: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call, and add the time it takes to ``stage``."""
        started = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def finish(self) -> dict[str, float]:
        """Give the time that belongs to no stage to ``queue``; return all and ``total``, rounded to microseconds."""
        total = time.perf_counter() - self.started
        self.seconds["queue"] = max(0.0, total - sum(self.seconds.values()))
        return {name: round(seconds, 6) for name, seconds in {**self.seconds, "total": total}.items()}


async def in_thread(pool: Executor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call in a thread of ``pool``. Whoever is cancelled meanwhile does not wait for its end."""
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: call(*args, **kwargs))


async def in_stoppable_thread(pool: Executor, stop: threading.Event, call: Callable[[], T]) -> T:
    """Call in a thread of ``pool`` that uses what the caller holds, such as an open file.

    Whoever is cancelled meanwhile sets ``stop``, at which ``call`` is to end soon, and waits for that.
    """
    future: Future[T] = pool.submit(call)
    ended = asyncio.wrap_future(future)
    try:
        await asyncio.wait([ended])
    except asyncio.CancelledError:
        stop.set()
        if not future.cancel():
            await asyncio.gather(ended, return_exceptions=True)
        raise
    return ended.result()


def file_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file's content, and leave the file at its start."""
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(CHUNK_BYTES):
        digest.update(part)
    file.seek(0)
    return digest.hexdigest()
