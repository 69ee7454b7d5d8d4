"""The sample index: a small folder that says what a data set holds and where in the shards its pixels lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import BadInputError, MismatchError
from core.files import atomic_write, sha256_file, write_text
from media.extraction import SampleSpec, read_spec

INDEX_FILE = "index.parquet"
SPEC_FILE = "spec.json"
REJECTED_FILE = "rejected.jsonl"
REPORT_FILE = "report.html"

SHARDS_KEY = b"veriframe.shards"  # schema metadata: the URI under which the shards lie
SPEC_KEY = b"veriframe.spec_sha256"

SPLITS = ("train", "val", "test")

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("media_id", pa.string(), nullable=False),  # dataset/method/file: never shared by two files
        pa.field("group_id", pa.string(), nullable=False),  # the unit of splitting
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("compression", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),  # position in the specification's classes
        pa.field("label_name", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, val or test
        pa.field("frame", pa.int32(), nullable=False),  # 0 for a still
        pa.field("time_ms", pa.float64(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),  # -1 where nothing is tracked
        pa.field("run", pa.int32(), nullable=False),  # of consecutive frames; 0 where there is one
        # Of the face, x0, y0, x1, y1 in px of the stored picture; null where nothing is known of it.
        pa.field("box", pa.list_(pa.float32(), 4)),
        pa.field("box_score", pa.float32()),
        # Right eye, left eye, tip of the nose, right and left corner of the mouth, x and y in px of the stored picture.
        pa.field("landmarks", pa.list_(pa.float32(), 10)),
        pa.field("crop", pa.list_(pa.float32(), 4)),  # where the stored picture lies on the frame: x0, y0, x1, y1 in px
        pa.field("grid_x", pa.int8()),  # its origin on the frame modulo 16; null where it was scaled
        pa.field("grid_y", pa.int8()),
        pa.field("width", pa.int32(), nullable=False),  # of the stored picture as shown, EXIF applied
        pa.field("height", pa.int32(), nullable=False),
        pa.field("forged_fraction", pa.float64(), nullable=False),  # forged pixels / pixels, 0..1
        pa.field("shard", pa.string(), nullable=False),  # <sha256>.tar
        pa.field("offset", pa.int64(), nullable=False),  # of the picture's bytes in the shard
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mask_offset", pa.int64()),  # null where nothing is marked
        pa.field("mask_size", pa.int64()),
        pa.field("crc32", pa.uint32(), nullable=False),  # of the picture's bytes
        pa.field("mask_crc32", pa.uint32()),
    ]
)


@dataclass(frozen=True)
class SampleIndex:
    """An index in memory.

    Attributes:
        table: the columns of ``SCHEMA``, a row a sample.
        spec: classes, and how the samples came to be.
        shards: URI that the shards lie under.
        sha256: of the index's file.
    """

    table: pa.Table
    spec: SampleSpec
    shards: str
    sha256: str

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> NDArray[Any]:
        """Return one column as a NumPy array (objects for strings)."""
        return np.asarray(self.table.column(name).to_numpy(zero_copy_only=False))

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows as dictionaries; for small selections."""
        return list(self.table.to_pylist())

    def where(self, **equal: object) -> "SampleIndex":
        """Return the rows whose columns equal the given values, or are among them where a list is given."""
        keep = pa.chunked_array([pa.array(np.ones(len(self), dtype=bool))])
        for name, value in equal.items():
            column = self.table.column(name)
            listed = isinstance(value, list)
            match = pc.is_in(column, pa.array(value, column.type)) if listed else pc.equal(column, value)
            keep = pc.and_(keep, match)
        return SampleIndex(self.table.filter(keep), self.spec, self.shards, self.sha256)


def schema_for(spec: SampleSpec, shards: str) -> pa.Schema:
    """Return ``SCHEMA`` with the metadata that an index file carries."""
    return SCHEMA.with_metadata({SHARDS_KEY: shards.encode(), SPEC_KEY: spec.digest.encode()})


def write_index(folder: Path, table: pa.Table, spec: SampleSpec, shards: str) -> None:
    """Write ``index.parquet`` and ``spec.json``, for an index that fits into memory.

    Args:
        folder: where to; made if it is not there.
        table: rows with the columns of ``SCHEMA``.
        spec: classes, and how the samples came to be.
        shards: the URI the shards lie under.

    Raises:
        StorageError: when the folder cannot be written.
    """
    write_text(folder / SPEC_FILE, spec.to_document())
    with atomic_write(folder / INDEX_FILE) as stream:
        pq.write_table(table.select(SCHEMA.names).cast(schema_for(spec, shards)), stream)


def read_sample_spec(folder: Path) -> SampleSpec:
    """Read how the samples of an index folder came to be, and no row.

    Raises:
        BadInputError: ``not-an-index`` when the file is missing or not readable.
        MismatchError: when the hash in the file is not that of its specification.
    """
    try:
        return read_spec(folder / SPEC_FILE)
    except (OSError, KeyError, ValueError) as error:
        raise _no_index(folder, error) from error


def _no_index(folder: Path, error: Exception) -> BadInputError:
    return BadInputError(
        "not-an-index",
        f"{folder} is not a sample index ({error}); make one with python -m components.extract_frames",
    )


def read_index(folder: Path) -> SampleIndex:
    """Read an index folder.

    Raises:
        BadInputError: ``not-an-index`` when a file is missing or not readable.
        MismatchError: when index and specification do not belong together, or columns are missing.
    """
    path = folder / INDEX_FILE
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _no_index(folder, error) from error
    spec = read_sample_spec(folder)
    metadata = table.schema.metadata or {}
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing or SHARDS_KEY not in metadata:
        raise MismatchError(f"{path} lacks {', '.join(missing) or 'its metadata'}; extract it again with this version")
    written = metadata.get(SPEC_KEY, b"").decode()
    if written != spec.digest:
        raise MismatchError(f"{path} was written with specification {written}, {SPEC_FILE} beside it is {spec.digest}")
    return SampleIndex(table.select(SCHEMA.names), spec, metadata[SHARDS_KEY].decode(), sha256_file(path))
