"""What a pass keeps of each medium, as an Arrow table that is collected on disk, saved, read and joined.

A pass over a large split keeps more than fits beside the networks. So rows leave memory in batches as they come, and
the finished table is mapped from its file: the kernel reads what is used and drops it again when memory is wanted.
"""

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import pyarrow as pa

from core.errors import BadInputError, MismatchError
from core.files import atomic_write

BATCH = 1024  # rows held as Python objects


@dataclass(frozen=True)
class MappedTable:
    """A table, and the files that it is mapped from; none where it lies in memory."""

    table: pa.Table
    maps: tuple[mmap.mmap, ...] = ()

    def __reduce__(self) -> tuple[type["MappedTable"], tuple[pa.Table]]:
        """Go to another process as rows in memory: its processes may be on other machines."""
        return MappedTable, (self.table,)

    def release(self) -> None:
        """Let go of what was read of the files: it is read again when it is wanted again."""
        for one in self.maps:
            one.madvise(mmap.MADV_DONTNEED)


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

    def build(self) -> "MappedTable":
        """Return the table of all rows; nothing can be added afterwards."""
        self._flush()
        self._writer.close()
        self._file.flush()
        with self._file:
            return _mapped(self._file)

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


def load_table(path: Path, fields: Sequence[str]) -> "MappedTable":
    """Map a table from the file that ``save_table`` wrote; the file must stay as it is.

    Args:
        path: the file.
        fields: that it must have, among others.

    Raises:
        BadInputError: ``not-statistics`` when the file is missing, damaged or lacks a field.
    """
    try:
        with path.open("rb") as stream:
            mapped = _mapped(stream)
        missing = set(fields) - set(mapped.table.column_names)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError) as error:
        raise BadInputError(
            "not-statistics", f"{path} does not hold what a part of a pass leaves ({error}); run that part again"
        ) from error
    return mapped


def join_tables(tables: Sequence["MappedTable"]) -> "MappedTable":
    """Return the rows of several tables, one table after the other; nothing is copied.

    Raises:
        MismatchError: when they differ in their fields or metadata.
    """
    first = tables[0].table.schema
    if not all(one.table.schema.equals(first, check_metadata=True) for one in tables):
        raise MismatchError("the parts of a pass differ in what they keep; run all of them with the same settings")
    return MappedTable(pa.concat_tables([one.table for one in tables]), sum((one.maps for one in tables), ()))


def _mapped(stream: IO[bytes]) -> "MappedTable":
    mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return MappedTable(pa.ipc.open_file(pa.py_buffer(mapped)).read_all(), (mapped,))
