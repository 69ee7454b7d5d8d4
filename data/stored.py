"""Reading the samples of an index out of its shards, as views are cut from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import BadInputError
from data.index import SampleIndex
from data.shards import ShardReader, Span
from media.pictures import decode_mask_png, decode_stored
from media.view import StoredSample, Subject

SPAN_COLUMNS = ("offset", "size", "crc32", "mask_offset", "mask_size", "mask_crc32")


def picture_span(row: Mapping[str, Any]) -> Span:
    """Return where the picture of a row of an index lies in its shard."""
    return Span(row["offset"], row["size"], row["crc32"])


def mask_span(row: Mapping[str, Any]) -> Span:
    """Return where the mask of a row of an index lies in its shard; for rows that have one."""
    return Span(row["mask_offset"], row["mask_size"], row["mask_crc32"])


def load_sample(row: Mapping[str, Any], reader: ShardReader) -> StoredSample:
    """Read a sample at its own resolution.

    Args:
        row: of an index, as ``SampleIndex.rows`` gives it.
        reader: of the index's shards.

    Raises:
        BadInputError: when the stored bytes do not decode, or picture and mask differ in size (``mask-size``).
        MismatchError: when the index does not belong to the shards.
    """
    mask = None if row["mask_offset"] is None else mask_span(row)
    rgb, forged = _read(reader, row["shard"], picture_span(row), mask)
    grid = None if row["grid_x"] is None else (row["grid_x"], row["grid_y"])
    return StoredSample(rgb, forged, _subject(row["box"], row["landmarks"]), grid)


def _read(
    reader: ShardReader, shard: str, picture: Span, mask: Span | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Read and decode a picture and, where there is one, its mask."""
    data, *marked = reader.read(shard, picture, *([] if mask is None else [mask]))
    rgb = decode_stored(data)
    if not marked:
        return rgb, None
    forged = decode_mask_png(marked[0])
    if forged.shape != rgb.shape[:2]:
        raise BadInputError(
            "mask-size",
            f"the picture has {rgb.shape[1]}×{rgb.shape[0]} px, its mask {forged.shape[1]}×{forged.shape[0]}",
        )
    return rgb, forged


def _subject(box: list[float] | None, landmarks: list[float] | None) -> Subject | None:
    if box is None:
        return None
    x0, y0, x1, y1 = box
    points = None if landmarks is None else np.array(landmarks, dtype=np.float32).reshape(5, 2)
    return Subject((x0, y0, x1, y1), points)


class StoredSamples:
    """Where the samples of an index lie, by row.

    Plain arrays: they are shared between forked workers, where Python objects would be copied page by page as their
    reference counts change, and they pickle at once.

    Attributes:
        label: int64 [N], the class of each row.
    """

    def __init__(self, index: SampleIndex, reader: ShardReader) -> None:
        self._reader = reader
        self.label = index.column("label").astype(np.int64)
        self._sample_id = index.column("sample_id").astype("S")
        self._shards, self._shard = np.unique(index.column("shard").astype("S"), return_inverse=True)
        self._spans = _numbers(index, *SPAN_COLUMNS)
        self._grids = _numbers(index, "grid_x", "grid_y").astype(np.int8)
        self._boxes, self._landmarks = _points(index, "box", 4), _points(index, "landmarks", 10)

    def __len__(self) -> int:
        return len(self.label)

    def sample_id(self, row: int) -> str:
        """Return the id of a row's sample."""
        return str(self._sample_id[row].decode())

    def read(self, row: int) -> StoredSample:
        """Read the sample of a row at its own resolution.

        Raises:
            BadInputError: when the stored bytes do not decode, or picture and mask differ in size (``mask-size``).
            MismatchError: when the index does not belong to the shards.
        """
        offset, size, crc32, mask_offset, mask_size, mask_crc32 = self._spans[row].tolist()
        mask = None if mask_offset < 0 else Span(mask_offset, mask_size, mask_crc32)
        shard = self._shards[self._shard[row]].decode()
        rgb, forged = _read(self._reader, shard, Span(offset, size, crc32), mask)
        x, y = self._grids[row].tolist()
        subject = _subject(_known(self._boxes[row]), _known(self._landmarks[row]))
        return StoredSample(rgb, forged, subject, None if x < 0 else (x, y))


def _numbers(index: SampleIndex, *names: str) -> NDArray[Any]:
    """Return columns of integers as one array [N, columns], -1 for null."""
    columns = (index.table.column(name).cast(pa.int64()).fill_null(-1) for name in names)
    return np.stack([column.to_numpy() for column in columns], axis=1)


def _points(index: SampleIndex, name: str, length: int) -> NDArray[np.float32]:
    """Return a column of lists as float32 [N, length], NaN for null."""
    column = index.table.column(name).combine_chunks()
    known = column.is_valid().to_numpy(zero_copy_only=False)
    values = np.full((len(column), length), np.nan, dtype=np.float32)
    values[known] = column.drop_null().flatten().to_numpy().reshape(-1, length)
    return values


def _known(values: NDArray[np.float32]) -> list[float] | None:
    return None if np.isnan(values[0]) else values.tolist()
