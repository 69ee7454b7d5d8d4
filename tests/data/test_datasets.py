import pickle
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from skimage import data
from torch.utils.data import DataLoader

from core.errors import MismatchError, SettingsError
from data.datasets import PictureDataset, collate, load_sample
from data.index import SampleIndex, sample_id, schema_for
from data.shards import FragmentWriter, ShardReader, assemble
from media.ela import error_level
from media.pictures import encode_png
from media.spec import ElaSpec, InputSpec, PreprocessingSpec
from media.transforms import policy

SIZE = 64


def _pictures():
    astronaut, coffee, chelsea = (f() for f in (data.astronaut, data.coffee, data.chelsea))
    forged = np.zeros((120, 150), dtype=bool)
    forged[40:80, 30:90] = True
    return [
        (np.ascontiguousarray(astronaut[:120, :150]), forged),
        (np.ascontiguousarray(coffee[:100, :90]), None),
        (np.ascontiguousarray(chelsea[:200, :130]), None),
        (np.ascontiguousarray(astronaut[100:140, 100:140]), np.ones((40, 40), dtype=bool)),
    ]


def _build(folder: Path, pictures) -> SampleIndex:
    """Write pictures, two a shard, and return the index that points at them."""
    rows = []
    fragments = []
    for number, (rgb, mask) in enumerate(pictures):
        media_id = f"skimage/none/{number}"
        name = sample_id(media_id)
        fragments.append(folder / f"{number}.fragment")
        with FragmentWriter(fragments[-1]) as writer:
            offset, size = writer.add(f"{name}.png", encode_png(rgb))
            mask_offset, mask_size = (
                writer.add(f"{name}.mask.png", encode_png(mask)) if mask is not None else (None, None)
            )
        rows.append(
            {
                "sample_id": name, "media_id": media_id, "group_id": str(number), "dataset": "skimage",
                "method": "none", "compression": "png", "label": int(mask is not None),
                "label_name": "forged" if mask is not None else "authentic", "split": "train", "frame": 0,
                "time_ms": 0.0, "track": -1, "width": rgb.shape[1], "height": rgb.shape[0],
                "forged_fraction": 0.0 if mask is None else float(mask.mean()), "offset": offset, "size": size,
                "mask_offset": mask_offset, "mask_size": mask_size,
            }
        )  # fmt: skip
    for row, at in zip(rows, assemble(fragments, folder, target_bytes=60_000), strict=True):
        row["shard"] = at.shard_name
        row["offset"] += at.base_offset
        if row["mask_offset"] is not None:
            row["mask_offset"] += at.base_offset
    spec = PreprocessingSpec()
    table = pa.Table.from_pylist(rows, schema=schema_for(spec, str(folder)))
    return SampleIndex(table, spec, str(folder), "0" * 64)


@pytest.fixture(scope="module")
def pictures():
    return _pictures()


@pytest.fixture(scope="module")
def index(tmp_path_factory, pictures):
    return _build(tmp_path_factory.mktemp("shards"), pictures)


@pytest.fixture
def reader(index):
    return ShardReader(index.shards)


def _dataset(index, reader, name="forgery", **spec):
    return PictureDataset(index, reader, name, InputSpec(size=SIZE, **spec))


def test_a_whole_sample_is_what_went_in(index, reader, pictures):
    assert len(set(index.column("shard"))) > 1
    for row, (rgb, mask) in zip(index.rows(), pictures, strict=True):
        loaded, forged = load_sample(row, reader)
        np.testing.assert_array_equal(loaded, rgb)
        np.testing.assert_array_equal(forged, np.zeros(rgb.shape[:2], dtype=bool) if mask is None else mask)
        assert forged.dtype == np.bool_


@pytest.mark.parametrize("name", ["forgery", "native"])
def test_an_item_is_the_policy_applied_to_the_picture_of_its_row(index, reader, pictures, name):
    dataset = _dataset(index, reader, name)
    assert len(dataset) == 4
    for row, (rgb, mask) in enumerate(pictures):
        image, crop = policy(name, SIZE)(rgb, mask, 11)
        item = dataset[row, 11]
        assert (item["image"].dtype, item["mask"].dtype) == (torch.uint8, torch.uint8)
        np.testing.assert_array_equal(item["image"].permute(1, 2, 0).numpy(), image)
        np.testing.assert_array_equal(item["mask"].numpy()[0], crop)
        assert (item["label"], item["row"]) == (int(mask is not None), row)
        assert item["sample_id"] == index.rows()[row]["sample_id"]


def test_error_levels_are_those_of_the_crop(index, reader):
    spec = ElaSpec(quality=80)
    item = _dataset(index, reader, ela=spec)[0, 4]
    planes = item["image"].permute(1, 2, 0).numpy()
    assert planes.shape == (SIZE, SIZE, 6)
    np.testing.assert_array_equal(planes[..., 3:], error_level(np.ascontiguousarray(planes[..., :3]), spec))


def test_a_batch_holds_what_its_samples_hold(index, reader):
    dataset = _dataset(index, reader, ela=ElaSpec())
    samples = [dataset[row, 7] for row in (0, 3, 1)]
    batch = collate(samples)
    assert batch["image"].shape == (3, 6, SIZE, SIZE)
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].is_contiguous()
    assert batch["mask"].shape == (3, 1, SIZE, SIZE)
    assert batch["mask"].dtype == torch.uint8
    assert batch["label"].tolist() == [1, 1, 0]
    assert batch["row"].tolist() == [0, 3, 1]
    assert batch["label"].dtype == batch["row"].dtype == torch.int64
    assert batch["sample_id"] == [sample["sample_id"] for sample in samples]
    for position, sample in enumerate(samples):
        assert torch.equal(batch["image"][position], sample["image"])
        assert torch.equal(batch["mask"][position], sample["mask"])


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_worker_processes_give_what_this_process_gives(index, reader, context, workers):
    dataset = _dataset(index, reader, "enhanced")
    keys = [(row, seed) for seed in range(3) for row in range(4)]
    expected = [dataset[key] for key in keys]
    loader = DataLoader(
        dataset, batch_size=2, sampler=keys, num_workers=workers, collate_fn=collate, multiprocessing_context=context
    )
    batches = list(loader)
    assert len(batches) == 6
    for position, batch in enumerate(batches):
        for place in range(2):
            sample = expected[2 * position + place]
            assert torch.equal(batch["image"][place], sample["image"])
            assert torch.equal(batch["mask"][place], sample["mask"])
            assert batch["sample_id"][place] == sample["sample_id"]


def test_forked_workers_end_though_opencv_had_threads_before_the_fork(index, reader):
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), dtype=np.uint8), (0, 0), 3)
    loader = DataLoader(
        _dataset(index, reader), sampler=[(0, 0), (1, 1)], num_workers=1, collate_fn=collate,
        multiprocessing_context="fork",
    )  # fmt: skip
    started = time.monotonic()
    assert len(list(loader)) == 2
    del loader
    assert time.monotonic() - started < 4  # PyTorch kills a worker that has not ended after 5 s


def test_a_dataset_survives_pickling(index, reader):
    dataset = _dataset(index, reader)
    expected = dataset[2, 5]["image"]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[2, 5]["image"], expected)


def test_a_pickled_dataset_of_many_rows_is_small(index, reader):
    many = SampleIndex(pa.concat_tables([index.table] * 5000), index.spec, index.shards, index.sha256)
    assert len(pickle.dumps(_dataset(many, reader))) < 80 * len(many)


def test_masks_of_authentic_pictures_are_empty_and_cost_no_read(index, pictures, monkeypatch):
    reader = ShardReader(index.shards)
    reads = []
    real = reader.read
    monkeypatch.setattr(reader, "read", lambda *span: reads.append(span) or real(*span))
    dataset = _dataset(index, reader)
    assert not dataset[1, 0]["mask"].any()
    assert len(reads) == 1
    assert dataset[3, 0]["mask"].any()
    assert len(reads) == 3


def test_a_sample_that_does_not_decode_is_named_also_by_a_worker(tmp_path, pictures):
    index = _build(tmp_path, pictures[:1])
    table = index.table.set_column(index.table.column_names.index("size"), "size", pa.array([40], pa.int64()))
    broken = SampleIndex(table, index.spec, index.shards, index.sha256)
    dataset = _dataset(broken, ShardReader(broken.shards))
    with pytest.raises(MismatchError, match=index.rows()[0]["sample_id"]):
        dataset[0, 0]
    with pytest.raises(MismatchError, match=index.rows()[0]["sample_id"]):
        next(iter(DataLoader(dataset, sampler=[(0, 0)], num_workers=1, collate_fn=collate)))


def test_a_mask_of_another_size_is_an_error_that_names_both(tmp_path, pictures):
    index = _build(tmp_path, [(pictures[0][0], np.zeros((30, 20), dtype=bool))])
    with pytest.raises(MismatchError, match=r"150×120 px, its mask 20×30"):
        _dataset(index, ShardReader(index.shards))[0, 0]


def test_an_unknown_policy_is_refused_before_anything_is_read(index, reader):
    with pytest.raises(SettingsError, match="'forgry'"):
        _dataset(index, reader, "forgry")
