"""Reading samples by row: as rows of an index and as plain arrays, with all that views need of them."""

import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.errors import BadInputError
from data.fragments import FragmentWriter, assemble
from data.index import SCHEMA, SampleIndex, read_index, write_index
from data.samples import sample_id
from data.shards import ShardReader
from data.stored import StoredSamples, load_sample
from media.extraction import SampleSpec
from media.pictures import encode_png

NOISE = np.random.default_rng(0)
PICTURES = [NOISE.integers(0, 256, (40, 30 + number, 3), dtype=np.uint8) for number in range(3)]
MASK = PICTURES[1][..., 0] > 127
BOX = [3.5, 4.25, 20.0, 30.125]
LANDMARKS = [float(value) / 8 for value in range(10)]


def _build(folder: Path, mask: np.ndarray) -> SampleIndex:
    """A photograph without a mask, one with a mask, and a face."""
    rows: list[dict[str, Any]] = []
    with FragmentWriter(folder / "fragment") as writer:
        for number, rgb in enumerate(PICTURES):
            name = sample_id(f"made/{number}")
            picture = encode_png(rgb)
            offset, size = writer.add(f"{name}.png", picture)
            row = {field.name: 0 if pa.types.is_integer(field.type) else None for field in SCHEMA}
            row |= dict.fromkeys(("mask_offset", "mask_size", "mask_crc32", "grid_x", "grid_y"))
            row |= dict.fromkeys(("time_ms", "forged_fraction"), 0.0)
            row |= dict.fromkeys(("group_id", "dataset", "method", "compression", "label_name"), "made")
            row |= {"sample_id": name, "media_id": f"made/{number}", "split": "train", "label": number}
            row |= {"offset": offset, "size": size, "crc32": zlib.crc32(picture)}
            rows.append(row)
        stored = encode_png(mask)
        rows[1]["mask_offset"], rows[1]["mask_size"] = writer.add("1.mask.png", stored)
        rows[1]["mask_crc32"] = zlib.crc32(stored)
        rows[2] |= {"box": BOX, "landmarks": LANDMARKS, "grid_x": 15, "grid_y": 0}
    (placed,) = assemble([folder / "fragment"], folder, target_bytes=2**20)
    for row in rows:
        row["shard"] = placed.shard_name
        row["offset"] += placed.base_offset
        row["mask_offset"] = None if row["mask_offset"] is None else row["mask_offset"] + placed.base_offset
    spec = SampleSpec(classes=("real", "swapped", "reenacted"))
    write_index(folder / "index", pa.Table.from_pylist(rows, SCHEMA), spec, str(folder))
    return read_index(folder / "index")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SampleIndex:
    return _build(tmp_path_factory.mktemp("stored"), MASK)


def test_both_ways_of_reading_give_what_went_in(index: SampleIndex) -> None:
    reader = ShardReader(index.shards)
    samples: StoredSamples = pickle.loads(pickle.dumps(StoredSamples(index, reader)))
    assert len(samples) == 3
    assert index.spec.classes == ("real", "swapped", "reenacted")
    assert (samples.label.tolist(), samples.label.dtype) == ([0, 1, 2], np.int64)
    for number, row in enumerate(index.rows()):
        assert samples.sample_id(number) == row["sample_id"]
        for sample in (samples.read(number), load_sample(row, reader)):
            assert np.array_equal(sample.rgb, PICTURES[number])
            if number == 1:
                assert sample.mask is not None
                assert np.array_equal(sample.mask, MASK)
            else:
                assert sample.mask is None
            if number < 2:
                assert (sample.subject, sample.grid) == (None, None)
            else:
                assert sample.subject is not None
                assert sample.subject.landmarks is not None
                assert sample.subject.box == tuple(BOX)
                assert sample.subject.landmarks.ravel().tolist() == LANDMARKS
                assert sample.subject.landmarks.dtype == np.float32
                assert sample.grid == (15, 0)


def test_any_selection_of_rows_can_be_read(index: SampleIndex) -> None:
    samples = StoredSamples(index.where(label=[0, 2]), ShardReader(index.shards))
    assert samples.read(0).subject is None
    assert samples.read(1).subject is not None
    assert len(StoredSamples(index.where(label=7), ShardReader(index.shards))) == 0


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    index = _build(tmp_path, MASK[:-1])
    with pytest.raises(BadInputError, match="31×40 px, its mask 31×39"):
        StoredSamples(index, ShardReader(index.shards)).read(1)
