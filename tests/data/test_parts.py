from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.index import SCHEMA, SampleIndex
from data.parts import in_order, part_of

ORDER = ("media_id", "track", "run", "frame")


def index_of(media: Sequence[tuple[str, int]]) -> SampleIndex:
    """An index with a row for each (medium, frame), in no particular order."""
    filled = {name: [None] * len(media) for name in SCHEMA.names if SCHEMA.field(name).nullable}
    for name in set(SCHEMA.names) - set(filled):
        filled[name] = ["" if pa.types.is_string(SCHEMA.field(name).type) else 0] * len(media)
    filled |= {"media_id": [medium for medium, _ in media], "frame": [frame for _, frame in media]}
    return SampleIndex(pa.table(filled, schema=SCHEMA), None, "file:///shards", "0" * 64)


MEDIA = st.lists(st.tuples(st.sampled_from(["ä", "a", "b/c", "b", "d", "z" * 9]), st.integers(0, 20)), max_size=60)


@given(MEDIA, st.integers(1, 9))
def test_parts_one_after_the_other_are_the_whole_in_order(media: list[tuple[str, int]], parts: int) -> None:
    index = index_of(media)
    found = [part_of(index, part, parts) for part in range(parts)]
    assert pa.concat_tables([part.table for part in found]).equals(in_order(index).table)
    rows = [(row["media_id"].encode(), *(row[name] for name in ORDER[1:])) for row in in_order(index).rows()]
    assert rows == sorted(rows)


@given(MEDIA, st.integers(1, 9))
def test_no_medium_is_divided_and_parts_differ_by_a_medium_at_most(media: list[tuple[str, int]], parts: int) -> None:
    index = index_of(media)
    found = [part_of(index, part, parts).column("media_id").tolist() for part in range(parts)]
    owners = [set(part) for part in found]
    assert sum(len(names) for names in owners) == len(set().union(*owners))
    longest = max((index.column("media_id").tolist().count(name) for name in set().union(*owners)), default=0)
    for names in found:
        assert abs(len(names) - len(index) / parts) <= longest


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="part 2 of 2"):
        part_of(index_of([("a", 0)]), 2, 2)
