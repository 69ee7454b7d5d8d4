"""Faces, single and as clips, on the photographs of ``test_datasets``' kind."""

import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from skimage import data
from torch.utils.data import DataLoader

from core.errors import MismatchError, SettingsError
from data.datasets import FaceDataset, face_collate
from data.index import SampleIndex, sample_id, schema_for
from data.shards import FragmentWriter, ShardReader, assemble
from media.inputs import face_view
from media.pictures import encode_png
from media.selfblend.blend import self_blend
from media.selfblend.settings import PseudoFakeSettings
from media.spec import ExtractionSpec, FaceSpec, InputSpec, PreprocessingSpec
from media.transforms import policy

SIDE = 80
LENGTHS = {"a": 5, "b": 1, "c": 3}  # frames of each medium's track; "b" is manipulated
SPEC = InputSpec(view="whole", size=64, frames=4)


@cache
def _photograph() -> np.ndarray:
    return data.astronaut()


def _crop(media: str, frame: int) -> np.ndarray:
    left = 20 * "abc".index(media) + 2 * frame
    return np.ascontiguousarray(_photograph()[50 : 50 + SIDE, 140 + left : 140 + left + SIDE])


def _index(folder: Path, faces: FaceSpec | None = FaceSpec(margin=1.0, size=SIDE)) -> SampleIndex:  # noqa: B008
    rows, fragments = [], []
    for media, length in LENGTHS.items():
        for frame in reversed(range(length)):  # the index need not be in the order of time
            media_id = f"set/x/{media}"
            name = sample_id(media_id, frame, 0)
            fragments.append(folder / f"{name}.fragment")
            with FragmentWriter(fragments[-1]) as writer:
                offset, size = writer.add(f"{name}.png", encode_png(_crop(media, frame)))
            label = int(media == "b")
            rows.append(
                {
                    "sample_id": name, "media_id": media_id, "group_id": media, "dataset": "set", "method": "x",
                    "compression": "png", "label": label, "label_name": ("real", "manipulated")[label],
                    "split": "train", "frame": frame, "time_ms": 40.0 * frame, "track": 0, "width": SIDE,
                    "height": SIDE, "forged_fraction": float(label), "offset": offset, "size": size,
                }
            )  # fmt: skip
    for row, at in zip(rows, assemble(fragments, folder), strict=True):
        row["shard"] = at.shard_name
        row["offset"] += at.base_offset
    spec = PreprocessingSpec(extraction=ExtractionSpec(faces=faces))
    return SampleIndex(pa.Table.from_pylist(rows, schema=schema_for(spec, str(folder))), spec, str(folder), "0" * 64)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return _index(tmp_path_factory.mktemp("faces"))


def _dataset(index, clips=True, name="none", pseudo=None, spec=SPEC):
    return FaceDataset(index, ShardReader(index.shards), name, spec, clips, pseudo)


def test_a_single_face_is_augmented_at_its_own_size_and_then_scaled(index):
    dataset = _dataset(index, clips=False, name="faces", spec=InputSpec(view="whole", size=64))
    assert len(dataset) == 9
    for row, stored in enumerate(index.rows()):
        item = dataset[row, 7]
        policy_seed = int(np.random.SeedSequence(7).generate_state(4, np.uint64)[3])
        image, _ = policy("faces", None)(_crop(stored["media_id"][-1], stored["frame"]), None, policy_seed)
        expected = face_view(image, InputSpec(view="whole", size=64))
        np.testing.assert_array_equal(item["image"].numpy(), expected[None])
        assert (item["label"], item["row"], item["sample_id"]) == (stored["label"], row, stored["sample_id"])
        assert "lengths" not in item and item["mask"].shape == (1, 1, 64, 64)


def test_a_clip_is_some_consecutive_frames_of_one_track(index):
    dataset, rows = _dataset(index), index.rows()
    assert len(dataset) == len(LENGTHS)
    for track, (media, length) in enumerate(LENGTHS.items()):
        seen = set()
        for seed in range(80):
            item = dataset[track, seed]
            first = rows[item["row"]]
            assert first["media_id"].endswith(media) and first["sample_id"] == item["sample_id"]
            assert item["lengths"] == len(item["image"]) <= min(length, SPEC.frames)
            expected = [face_view(_crop(media, first["frame"] + k), SPEC) for k in range(item["lengths"])]
            np.testing.assert_array_equal(item["image"].numpy(), np.stack(expected))
            seen.add((first["frame"], item["lengths"]))
        lengths = range(1, min(length, SPEC.frames) + 1)
        assert seen == {(start, size) for size in lengths for start in range(length - size + 1)}


def test_the_frames_of_a_clip_are_flipped_together(index):
    dataset, flipped = _dataset(index, name="native"), set()
    for seed in range(24):
        item = dataset[0, seed]
        start = index.rows()[item["row"]]["frame"]
        means = [
            [float(np.abs(turned - face_view(_crop("a", start + k), SPEC)).mean()) < 12 for turned in _turns(frame)]
            for k, frame in enumerate(item["image"].numpy().astype(int))
        ]
        assert all(one == means[0] for one in means)
        flipped.add(tuple(means[0]))
    assert len(flipped) > 3


def _turns(planes):
    return [np.rot90(side, k, axes=(1, 2)) for side in (planes, planes[:, :, ::-1]) for k in range(4)]


def test_a_pseudo_fake_is_an_authentic_face_with_the_mask_of_its_blending(index):
    dataset = _dataset(index, clips=False, pseudo=PseudoFakeSettings(probability=0.5))
    rows, made = index.rows(), 0
    for row, stored in enumerate(rows):
        for seed in range(20):
            item = dataset[row, seed]
            image, mask = item["image"][0].numpy(), item["mask"].numpy()
            if stored["label"] or not item["label"]:
                assert item["label"] == stored["label"] and not mask.any()
                np.testing.assert_array_equal(image, face_view(_crop(stored["media_id"][-1], stored["frame"]), SPEC))
                continue
            made += 1
            blend_seed = int(np.random.SeedSequence(seed).generate_state(4, np.uint64)[2])
            crop = _crop(stored["media_id"][-1], stored["frame"])
            blended, blend_mask = self_blend(crop, index.spec.extraction.faces, blend_seed)
            np.testing.assert_array_equal(image, face_view(blended, SPEC))
            assert mask.mean() == pytest.approx(blend_mask.mean(), abs=0.02) and mask.any()
    assert 50 < made < 110  # of 160 draws of authentic faces


def test_a_pseudo_fake_of_which_nothing_is_seen_stays_authentic(tmp_path):
    far = _index(tmp_path, faces=FaceSpec(margin=4.0, size=SIDE))  # faces of 20 px, of which the middle shows little
    spec = InputSpec(view="centre", size=32)
    dataset = _dataset(far, clips=False, pseudo=PseudoFakeSettings(probability=1), spec=spec)
    items = [dataset[8, seed] for seed in range(60)]
    assert all(item["label"] == int(item["mask"].any()) for item in items)
    assert np.mean([item["label"] for item in items]) > 0.9


def test_all_frames_of_a_clip_become_pseudo_fakes_or_none(index):
    dataset = _dataset(index, pseudo=PseudoFakeSettings(probability=0.5))
    labels = set()
    for seed in range(60):
        item = dataset[0, seed]
        masks = {mask.numpy().tobytes() for mask in item["mask"]}
        assert len(masks) == 1
        assert bool(item["mask"].any()) == bool(item["label"])
        labels.add(item["label"])
    assert labels == {0, 1}
    assert all(_dataset(index, pseudo=PseudoFakeSettings(probability=1))[0, seed]["label"] for seed in range(20))


def test_clips_are_packed_into_a_batch_one_after_the_other(index):
    dataset = _dataset(index, pseudo=PseudoFakeSettings(probability=0.5))
    samples = [dataset[track, seed] for track, seed in ((0, 1), (2, 2), (1, 3), (0, 4))]
    batch = face_collate(samples)
    count = sum(sample["lengths"] for sample in samples)
    assert (batch["image"].shape, batch["mask"].shape) == ((count, 3, 64, 64), (count, 1, 64, 64))
    assert batch["image"].dtype == batch["mask"].dtype == torch.uint8 and batch["image"].is_contiguous()
    assert batch["lengths"].tolist() == [sample["lengths"] for sample in samples]
    assert batch["label"].dtype == batch["lengths"].dtype == batch["row"].dtype == torch.int64
    assert batch["label"].tolist() == [sample["label"] for sample in samples]
    assert batch["sample_id"] == [sample["sample_id"] for sample in samples]
    assert torch.equal(batch["image"], torch.cat([sample["image"] for sample in samples]))
    assert torch.equal(batch["mask"], torch.cat([sample["mask"] for sample in samples]))


def test_single_faces_have_no_lengths(index):
    dataset = _dataset(index, clips=False, spec=InputSpec(view="whole", size=64))
    batch = face_collate([dataset[row, row] for row in range(4)])
    assert batch["image"].shape == (4, 3, 64, 64) and "lengths" not in batch


def test_worker_processes_give_what_this_process_gives(index):
    dataset = _dataset(index, name="faces", pseudo=PseudoFakeSettings(probability=0.5))
    keys = [[(track, seed) for track in range(3)] for seed in range(4)]
    expected = [face_collate([dataset[key] for key in batch]) for batch in keys]
    loader = DataLoader(
        dataset, batch_sampler=keys, num_workers=2, collate_fn=face_collate, multiprocessing_context="fork"
    )
    for batch, other in zip(loader, expected, strict=True):
        assert batch["sample_id"] == other["sample_id"]
        assert all(torch.equal(batch[name], other[name]) for name in ("image", "mask", "label", "lengths", "row"))


def test_a_dataset_survives_pickling(index):
    dataset = _dataset(index, name="faces", pseudo=PseudoFakeSettings())
    expected = dataset[2, 5]["image"]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[2, 5]["image"], expected)


def test_what_does_not_suit_faces_is_refused(index, tmp_path):
    with pytest.raises(SettingsError, match="'whole' and 'centre'"):
        _dataset(index, spec=InputSpec(size=64))
    with pytest.raises(SettingsError, match="policies that keep a picture"):
        _dataset(index, name="forgery")
    with pytest.raises(SettingsError, match=r"spec.extraction.faces is null"):
        _dataset(_index(tmp_path, faces=None), pseudo=PseudoFakeSettings())


def test_a_face_that_does_not_decode_is_named(index):
    table = index.table.set_column(index.table.column_names.index("size"), "size", pa.array([40] * 9, pa.int64()))
    broken = _dataset(SampleIndex(table, index.spec, index.shards, index.sha256))
    with pytest.raises(MismatchError, match=r"sample [0-9a-f]{24} cannot be read"):
        broken[0, 0]
