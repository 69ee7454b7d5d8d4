from hypothesis import given
from hypothesis import strategies as st

from core.disktable import DiskTable

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(names, names), max_size=30))
def test_pairs_come_sorted_by_their_bytes_and_once(pairs: list[tuple[str, str]]) -> None:
    table = DiskTable()
    for key, value in pairs:
        table.add(key, value)
    assert list(table.pairs()) == sorted(set(pairs), key=lambda pair: (pair[0].encode(), pair[1].encode()))
    assert len(table) == len(set(pairs))


def test_what_was_taken_is_known() -> None:
    table = DiskTable()
    for key, value in (("a", "1"), ("a", "2"), ("b", "3")):
        table.add(key, value)
    assert table.take("a") == ["1", "2"]
    assert table.take("a") == ["1", "2"]
    assert table.take("c") == []
    assert list(table.untaken()) == [("b", "3")]
    assert len(table) == 3
