"""Noticing that a node of a run is gone.

A process that ends closes its connections, and the others' next exchange fails at once. A node that is cut off, or
loses its power, closes nothing: the others would wait until their collectives time out, which for NCCL ends the process
without a word about the cause, and for the control group is hours.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

INTERVAL = 5.0  # seconds between two beats
LIMIT = 120.0  # seconds without one; a node that swaps or stalls on its storage has none for a while
ANSWER = timedelta(seconds=30)  # for the store's answer


class Counters(Protocol):
    """What is asked of ``torch.distributed.Store``."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a number that is 0 at first; return the sum."""

    def set_timeout(self, timeout: timedelta, /) -> None:
        """Set how long an answer is waited for."""


def end_process(reason: str) -> None:
    """End this process wherever it waits: neither gloo nor NCCL can be interrupted."""
    sys.stderr.write(f"error: {reason}\n")
    sys.stderr.flush()
    os._exit(1)


class Heartbeat(AbstractContextManager["Heartbeat"]):
    """While entered, a thread counts up this node's number in a store and watches that the others' move on."""

    def __init__(
        self,
        store: Counters,
        *,
        node: int,
        nodes: int,
        interval: float = INTERVAL,
        limit: float = LIMIT,
        lost: Callable[[str], None] = end_process,
    ) -> None:
        """Beat once.

        Args:
            store: shared by all nodes; one process on each beats.
            node: this one's number, from 0.
            nodes: how many there are.
            interval: seconds between two beats.
            limit: seconds without a beat, after which a node counts as gone.
            lost: called, once, with a sentence that says so.
        """
        self._store = store
        self._node = node
        self._nodes = nodes
        self._interval = interval
        self._limit = limit
        self._lost = lost
        self._stop = threading.Event()
        store.set_timeout(ANSWER)
        store.add(_key(node), 1)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._stop.set()

    def _watch(self) -> None:
        others = [node for node in range(self._nodes) if node != self._node]
        counts = dict.fromkeys(others, 0)
        heard = dict.fromkeys(others, time.monotonic())
        while not self._stop.wait(self._interval):
            for node, count in self._exchange(others).items():
                if count != counts[node]:
                    counts[node], heard[node] = count, time.monotonic()
            silent = [str(node) for node, when in heard.items() if time.monotonic() - when > self._limit]
            if silent and not self._stop.is_set():
                self._lost(
                    f"nothing was heard of node {', '.join(silent)} for {self._limit:g} s: it is cut off, or stands "
                    "still. This process ends; a new start of all goes on from the last step checkpoint"
                )
                return

    def _exchange(self, others: Sequence[int]) -> dict[int, int]:
        """Beat; return the beats of the others. A store that is out of reach is as good as their silence."""
        try:
            self._store.add(_key(self._node), 1)
            return {node: self._store.add(_key(node), 0) for node in others}
        except Exception:
            return {}


def _key(node: int) -> str:
    return f"node/{node}"
