import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import BadInputError, MismatchError
from judging.tables import BATCH, MappedTable, TableCollector, join_tables, load_table, save_table

SCHEMA = pa.schema([pa.field("name", pa.string()), pa.field("values", pa.list_(pa.float64()))])


def collected(count: int, schema: pa.Schema = SCHEMA) -> MappedTable:
    collector = TableCollector(schema)
    for number in range(count):
        collector.add({"name": f"n{number}", "values": [float(number)] * (number % 3)})
    return collector.build()


@pytest.mark.parametrize("count", [0, 1, BATCH, 2 * BATCH + 3])
def test_what_was_collected_comes_back_and_survives_a_file(tmp_path: Path, count: int) -> None:
    table = collected(count).table
    assert table.column("name").to_pylist() == [f"n{number}" for number in range(count)]
    assert [len(values) for values in table.column("values").to_pylist()] == [number % 3 for number in range(count)]
    save_table(tmp_path / "part.arrow", table)
    assert load_table(tmp_path / "part.arrow", ["name", "values"]).table.equals(table)


def test_a_mapped_table_goes_to_another_process() -> None:
    mapped = collected(3)
    assert mapped.maps
    received = pickle.loads(pickle.dumps(mapped))
    assert (received.table.equals(mapped.table), received.maps) == (True, ())


def test_the_temporary_file_is_gone_once_the_table_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mapped = collected(5)
    assert list(tmp_path.iterdir()) == []
    mapped.release()
    assert mapped.table.column("name").to_pylist()[-1] == "n4"


def test_a_damaged_file_and_one_that_lacks_a_column_are_named(tmp_path: Path) -> None:
    path = tmp_path / "part.arrow"
    for content in (b"", b"ARROW1 and then nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=r"part\.arrow does not hold"):
            load_table(path, ["name"])
    with pytest.raises(BadInputError, match=r"absent\.arrow"):
        load_table(tmp_path / "absent.arrow", ["name"])
    save_table(path, collected(2).table)
    with pytest.raises(BadInputError, match="it lacks label"):
        load_table(path, ["name", "label"])


def test_tables_that_keep_different_things_do_not_join() -> None:
    assert join_tables([collected(2), collected(0), collected(1)]).table.num_rows == 3
    with pytest.raises(MismatchError, match="same settings"):
        join_tables([collected(1), collected(1, SCHEMA.with_metadata({b"areas": b"[0.1]"}))])
