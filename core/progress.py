"""Progress for people: a bar on a terminal, a plain line every few seconds elsewhere (a pod's log, a file)."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

PLAIN_INTERVAL = 10.0  # seconds between two lines where there is no terminal

T = TypeVar("T")


class Counter(Protocol):
    """Something that can be told how much more is done; safe to call from several threads."""

    def update(self, amount: int = 1) -> None:
        """Say that ``amount`` more units are done."""

    def note(self, text: str) -> None:
        """Show ``text`` (a loss, a name) beside the count from now on."""


def progress(iterable: Iterable[T], *, total: int | None = None, unit: str = "it", label: str = "") -> Iterator[T]:
    """Yield from ``iterable``, showing how far it is.

    Args:
        iterable: what is worked through.
        total: how many items it has; taken from its length where it has one.
        unit: what an item is called; ``B`` counts bytes.
        label: what is being done.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with counter(total, unit=unit, label=label) as count:
        for item in iterable:
            yield item
            count.update()


@contextmanager
def counter(total: int | None, *, unit: str = "it", label: str = "", quiet: bool = False) -> Iterator[Counter]:
    """Show a count that the caller moves, with rate and time left.

    Args:
        total: units in all, None where unknown.
        unit: what a unit is called; ``B`` counts bytes.
        label: what is being done.
        quiet: show nothing.
    """
    if quiet:
        yield _Silent()
    elif _has_terminal():
        from tqdm import tqdm  # the serving images, which transfer quietly, do without it

        scale = unit == "B"
        with tqdm(total=total, unit=unit, desc=label or None, unit_scale=scale, unit_divisor=1024) as bar:
            yield _Bar(bar)
    else:
        lines = _Lines(total, unit, label)
        yield lines
        lines.finish()


def _has_terminal() -> bool:
    # Terminals without a width exist (docker run -t in a job); a bar would be cut to nothing.
    return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0


class _Silent:
    def update(self, amount: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Bar:
    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar
        self._lock = threading.Lock()

    def update(self, amount: int = 1) -> None:
        with self._lock:
            self._bar.update(amount)

    def note(self, text: str) -> None:
        with self._lock:
            self._bar.set_postfix_str(text, refresh=False)


class _Lines:
    def __init__(self, total: int | None, unit: str, label: str) -> None:
        self._total = total
        self._unit = unit
        self._label = label
        self._note = ""
        self._done = 0
        self._start = time.monotonic()
        self._next = self._start + PLAIN_INTERVAL
        self._lock = threading.Lock()

    def update(self, amount: int = 1) -> None:
        with self._lock:
            self._done += amount
            now = time.monotonic()
            if now >= self._next:
                self._next = now + PLAIN_INTERVAL
                self._write(now)

    def note(self, text: str) -> None:
        with self._lock:
            self._note = text

    def finish(self) -> None:
        with self._lock:
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        line = describe(self._done, self._total, self._unit, now - self._start)
        extra = f", {self._note}" if self._note else ""
        sys.stderr.write(f"{self._label}: {line}{extra}\n" if self._label else f"{line}{extra}\n")
        sys.stderr.flush()


def describe(done: int, total: int | None, unit: str, seconds: float) -> str:
    """Return such as ``120/500 pictures (24 %), 31.0 pictures/s, 12 s left``.

    Args:
        done: units done.
        total: units in all, None where unknown.
        unit: what a unit is called; ``B`` is shown in MiB.
        seconds: how long it took.
    """
    scale, name, digits = (2**20, "MiB", 1) if unit == "B" else (1, unit, 0)
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{done / scale:.{digits}f}"
    if total is not None:
        text += f"/{total / scale:.{digits}f}"
    text += f" {name}"
    if total:
        text += f" ({100 * done / total:.0f} %)"
    text += f", {rate / scale:.1f} {name}/s"
    if total is not None and 0 < done < total:
        text += f", {(total - done) / rate:.0f} s left" if rate else ""
    else:
        text += f", {seconds:.1f} s"
    return text
