"""Gathering what a pass over pictures leaves behind: statistics, what could not be read, and pictures to show."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError
from core.files import write_text
from data.index import SampleIndex
from data.layouts.base import Rejection
from data.shards import ShardReader
from judging.predict import Judged, Member, judge_index
from judging.report import Figure
from judging.settings import JudgingSettings
from judging.statistics import PixelStatistics, StatisticsCollector


def collect_statistics(
    judged: Iterable[Judged],
    names: Sequence[str],
    min_areas: Sequence[float],
    look: Callable[[Judged], None] | None = None,
) -> dict[str, PixelStatistics]:
    """Collect the statistics of some members and ensembles over a pass.

    Args:
        judged: from ``judge_index``.
        names: of members or ensembles.
        min_areas: the areas whose image scores are kept exactly.
        look: also called with every picture, while its maps are at hand.
    """
    collectors = {name: StatisticsCollector(min_areas) for name in names}
    for picture in judged:
        for name, collector in collectors.items():
            collector.add(picture.row, picture.mask, picture.probabilities[name])
        if look is not None:
            look(picture)
    return {name: collector.build() for name, collector in collectors.items()}


def judge_with(
    settings: JudgingSettings,
    members: Sequence[Member],
    index: SampleIndex,
    reader: ShardReader,
    *,
    label: str,
    unreadable: "Rejections",
    degrade: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    ensembles: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Judged]:
    """Call ``judge_index`` as a recipe's settings say; ``label`` is shown beside the progress."""
    return judge_index(
        members,
        index,
        reader,
        **settings.running(),
        degrade=degrade,
        progress=label,
        ensembles=ensembles,
        unreadable=unreadable,
    )


class Rejections:
    """The pictures that could not be read, each with its reason; give it to ``judge_index`` as ``unreadable``."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __call__(self, row: dict[str, Any], error: BadInputError) -> None:
        """Note one picture; a picture that several passes meet is noted once."""
        self._lines[row["sample_id"]] = Rejection(str(row["media_id"]), error.reason, error.detail).to_json()

    def write(self, path: Path) -> None:
        """Write ``rejected.jsonl``: a JSON object a line, in the order met; an empty file when all were read."""
        write_text(path, "".join(f"{line}\n" for line in self._lines.values()))


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
