"""What a pass keeps of each medium, as an Arrow table that is collected on disk, saved, read and joined.

A pass over a large split keeps more than fits beside the networks. So rows leave memory in batches as they come, and
the finished table is mapped from its file: the kernel reads what is used and drops it again when memory is wanted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pyarrow as pa

from core.errors import BadInputError, MismatchError
from core.files import atomic_write

BATCH = 1024  # rows held as Python objects


class TableCollector:
    """Collects rows in a temporary file (in ``TMPDIR``) that vanishes with the table made of it."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Mapping[str, Any]] = []
        self._file = NamedTemporaryFile(prefix="statistics-")  # noqa: SIM115 - closed by ``build``, or when collected
        self._writer = pa.ipc.new_file(self._file, schema)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row: a value for each field."""
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._flush()

    def build(self) -> pa.Table:
        """Return the table of all rows; nothing can be added afterwards."""
        self._flush()
        self._writer.close()
        self._file.flush()
        with self._file:
            return pa.ipc.open_file(pa.memory_map(self._file.name)).read_all()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def save_table(path: Path, table: pa.Table) -> None:
    """Write a table in Arrow's file format.

    Raises:
        StorageError: when it cannot be written.
    """
    with atomic_write(path) as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH)


def load_table(path: Path, fields: Sequence[str]) -> pa.Table:
    """Map a table from the file that ``save_table`` wrote; the file must stay as it is.

    Args:
        path: the file.
        fields: that it must have, among others.

    Raises:
        BadInputError: ``not-statistics`` when the file is missing, damaged or lacks a field.
    """
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        missing = set(fields) - set(table.column_names)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError) as error:
        raise BadInputError(
            "not-statistics", f"{path} does not hold what a part of a pass leaves ({error}); run that part again"
        ) from error
    return table


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of several tables, one table after the other; nothing is copied.

    Raises:
        MismatchError: when they differ in their fields or metadata.
    """
    first = tables[0].schema
    if not all(table.schema.equals(first, check_metadata=True) for table in tables):
        raise MismatchError("the parts of a pass differ in what they keep; run all of them with the same settings")
    return pa.concat_tables(tables)
