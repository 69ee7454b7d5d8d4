"""Gathering what a pass over samples leaves behind: what could not be read, and the few pictures to show."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import BadInputError
from core.files import write_text
from data.entries.entry import Rejection
from judging.report import Figure


class Rejections:
    """The samples that could not be read, each with its reason; to be given to a pass as ``unreadable``."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __call__(self, row: dict[str, Any], error: BadInputError) -> None:
        """Note one sample; a sample that several passes meet is noted once."""
        self._lines[row["sample_id"]] = Rejection(str(row["media_id"]), error.reason, error.detail).to_json()

    def add(self, lines: str) -> None:
        """Add what another part of a pass wrote."""
        self._lines.update({line: line for line in lines.splitlines()})

    def text(self) -> str:
        """Return a JSON object a line, in the order met; nothing where all were read."""
        return "".join(f"{line}\n" for line in self._lines.values())

    def write(self, path: Path) -> None:
        """Write ``rejected.jsonl``: a JSON object a line, in the order met; an empty file where all were read."""
        write_text(path, self.text())


@dataclass(order=True)
class _Kept:
    rank: float
    tie: str
    figure: Figure = field(compare=False)


class TopPictures:
    """Keeps the drawings of the few pictures that rank highest, so that memory does not grow with the pass."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[_Kept] = []

    def offer(self, rank: float, tie: str, draw: Callable[[], Figure]) -> None:
        """Offer a picture; it is drawn only if it ranks among the highest so far.

        Args:
            rank: higher is kept.
            tie: decides between equal ranks, so that the order of the pass does not.
            draw: makes the drawing.
        """
        if self._count and (len(self._heap) < self._count or (rank, tie) > (self._heap[0].rank, self._heap[0].tie)):
            kept = _Kept(rank, tie, draw())
            (heapq.heappush if len(self._heap) < self._count else heapq.heapreplace)(self._heap, kept)

    def figures(self) -> list[Figure]:
        """Return the drawings kept, highest rank first."""
        return [kept.figure for kept in sorted(self._heap, reverse=True)]
