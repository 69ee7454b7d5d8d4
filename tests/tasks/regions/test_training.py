import pickle
import time

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from skimage import data
from torch.utils.data import DataLoader

from core.errors import BadInputError, MismatchError, SettingsError
from data.datasets import collate
from data.index import SampleIndex
from data.shards import ShardReader
from media.ela import ElaSpec, error_level
from media.spec import InputSpec
from media.transforms import policy
from tasks.regions.settings import RegionsSampling
from tasks.regions.training import PictureDataset, training_samples
from tasks.task import TrainingRequest
from tests.tasks.stored import Given, build_index

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


def _build(folder, pictures) -> SampleIndex:
    """Write pictures, two a shard, and return the index that points at them."""
    samples = [
        Given(rgb, mask, int(mask is not None), str(number), forged_fraction=0.0 if mask is None else mask.mean())
        for number, (rgb, mask) in enumerate(pictures)
    ]
    return build_index(folder, samples)


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
    return PictureDataset(index, reader, name, InputSpec(views={"tiles": {"size": SIZE, **spec}}))


@pytest.mark.parametrize("name", ["forgery", "native"])
def test_an_item_is_the_policy_applied_to_the_picture_of_its_row(index, reader, pictures, name):
    dataset = _dataset(index, reader, name)
    assert len(dataset) == 4
    for row, (rgb, mask) in enumerate(pictures):
        image, crop = policy(name, SIZE)(rgb, mask, 11)
        item = dataset[row, 11]
        assert (item["views"]["tiles"].dtype, item["mask"].dtype) == (torch.uint8, torch.uint8)
        np.testing.assert_array_equal(item["views"]["tiles"][0].permute(1, 2, 0).numpy(), image)
        np.testing.assert_array_equal(item["mask"].numpy()[0, 0], crop)
        assert (item["label"], item["row"]) == (int(mask is not None), row)
        assert item["sample_id"] == index.rows()[row]["sample_id"]


def test_error_levels_are_those_of_the_crop(index, reader):
    spec = ElaSpec(quality=80)
    item = _dataset(index, reader, ela=spec.model_dump())[0, 4]
    planes = item["views"]["tiles"][0].permute(1, 2, 0).numpy()
    assert planes.shape == (SIZE, SIZE, 6)
    np.testing.assert_array_equal(planes[..., 3:], error_level(np.ascontiguousarray(planes[..., :3]), spec))


def test_a_batch_holds_what_its_samples_hold(index, reader):
    dataset = _dataset(index, reader, ela={})
    samples = [dataset[row, 7] for row in (0, 3, 1)]
    batch = collate(samples)
    assert batch["views"]["tiles"].shape == (3, 6, SIZE, SIZE)
    assert batch["views"]["tiles"].dtype == torch.uint8
    assert batch["views"]["tiles"].is_contiguous()
    assert batch["mask"].shape == (3, 1, SIZE, SIZE)
    assert batch["mask"].dtype == torch.uint8
    assert batch["label"].tolist() == [1, 1, 0]
    assert batch["row"].tolist() == [0, 3, 1]
    assert batch["label"].dtype == batch["row"].dtype == torch.int64
    assert batch["sample_id"] == [sample["sample_id"] for sample in samples]
    for position, sample in enumerate(samples):
        assert torch.equal(batch["views"]["tiles"][position], sample["views"]["tiles"][0])
        assert torch.equal(batch["mask"][position], sample["mask"][0])


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
            assert torch.equal(batch["views"]["tiles"][place], sample["views"]["tiles"][0])
            assert torch.equal(batch["mask"][place], sample["mask"][0])
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
    expected = dataset[2, 5]["views"]["tiles"]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[2, 5]["views"]["tiles"], expected)


def test_a_pickled_dataset_of_many_rows_is_small(index, reader):
    many = SampleIndex(pa.concat_tables([index.table] * 5000), index.spec, index.shards, index.sha256)
    assert len(pickle.dumps(_dataset(many, reader))) < 160 * len(many)


def test_masks_of_authentic_pictures_are_empty_and_cost_no_read(index, pictures, monkeypatch):
    reader = ShardReader(index.shards)
    reads = []
    real = reader.read
    monkeypatch.setattr(reader, "read", lambda *span: reads.extend(span[1:]) or real(*span))
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


def test_pictures_are_drawn_by_their_forged_area(index, reader):
    request = TrainingRequest(
        index=index, reader=reader, hard_negatives=frozenset(index.column("sample_id")[1:2]),
        input=InputSpec(views={"tiles": {"size": SIZE}}), clips=False, policy="native", sampling=RegionsSampling(),
    )  # fmt: skip
    samples = training_samples(request)
    assert samples.weights.tolist() == [1, 5, 1, 1]
    assert samples.collate([samples.dataset[0, 0]])["mask"].shape == (1, 1, SIZE, SIZE)


def test_balancing_needs_both_classes(index, reader):
    request = TrainingRequest(
        index=index.where(label=0), reader=reader, hard_negatives=frozenset(),
        input=InputSpec(views={"tiles": {"size": SIZE}}), clips=False, policy="native",
        sampling=RegionsSampling(balanced=True),
    )  # fmt: skip
    with pytest.raises(BadInputError, match="nothing manipulated can be drawn"):
        training_samples(request)
