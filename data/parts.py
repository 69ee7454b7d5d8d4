"""A share of an index for one of several processes: whole media, so that no process judges half a medium."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.index import SampleIndex

ORDER = [("media_id", "ascending"), ("track", "ascending"), ("run", "ascending"), ("frame", "ascending")]


def in_order(index: SampleIndex) -> SampleIndex:
    """Return all rows ordered by medium, track, run and frame: the order in which passes visit them."""
    return _with(index, index.table.sort_by(ORDER))


def part_of(index: SampleIndex, part: int, parts: int) -> SampleIndex:
    """Return one of several parts of an index, in the order of ``in_order``.

    The parts are consecutive in that order and together hold every row once, so that what is gathered from them,
    part after part, is what one pass over ``in_order`` gathers. Each medium lies in one part; a part's rows differ
    from ``len(index) / parts`` by at most as many as the longest medium has. Where there are more parts than media,
    some are empty.

    Args:
        index: all rows.
        part: which, 0 to ``parts`` - 1: a process's rank, or a task's number in a ParallelFor.
        parts: how many, at least 1.

    Raises:
        ValueError: when there is no such part.
    """
    if not 0 <= part < parts:
        raise ValueError(f"part {part} of {parts}: parts are numbered from 0")
    if parts == 1 or not len(index):
        return in_order(index)
    media = index.table.column("media_id").combine_chunks().dictionary_encode()
    places = pc.sort_indices(media.dictionary).to_numpy()
    counts = np.bincount(media.indices.to_numpy(), minlength=len(places))[places]
    middles = 2 * np.cumsum(counts) - counts  # twice the place of each medium's middle row
    owner = np.empty(len(places), dtype=np.int64)
    owner[places] = middles * parts // (2 * len(index))
    return in_order(_with(index, index.table.filter(pa.array(owner[media.indices.to_numpy()] == part))))


def _with(index: SampleIndex, table: pa.Table) -> SampleIndex:
    return SampleIndex(table, index.spec, index.shards, index.sha256)
