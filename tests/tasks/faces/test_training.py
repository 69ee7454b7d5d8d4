"""Faces, single and as clips, cut from a photograph."""

import pickle
from functools import cache
from pathlib import Path

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
from data.tracks import find_tracks
from media.extraction import ExtractionSpec, FaceSpec, SampleSpec
from media.selfblend.blend import self_blend
from media.selfblend.settings import PseudoFakeSettings
from media.spec import InputSpec
from media.transforms import policy
from media.view import StoredSample
from tasks.faces.settings import FacesSampling
from tasks.faces.training import FaceDataset, sample_weights, training_samples
from tasks.task import TrainingRequest
from tests.tasks.stored import Given, build_index

SIDE = 80
LENGTHS = {"a": 5, "b": 1, "c": 3}  # frames of each medium's track; "b" is manipulated
SPEC = InputSpec(views={"face": {"size": 64, "margin": 1.0}}, frames=4)
SINGLE = InputSpec(views={"face": {"size": 64, "margin": 1.0}})


@cache
def _photograph() -> np.ndarray:
    return data.astronaut()


def _crop(media: str, frame: int) -> np.ndarray:
    left = 20 * "abc".index(media) + 2 * frame
    return np.ascontiguousarray(_photograph()[50 : 50 + SIDE, 140 + left : 140 + left + SIDE])


def _view(rgb: np.ndarray) -> np.ndarray:
    return SPEC.only.cut(StoredSample(rgb))


def _index(folder: Path, faces: FaceSpec | None = FaceSpec(margin=1.0)) -> SampleIndex:  # noqa: B008
    samples = [
        Given(_crop(media, frame), None, int(media == "b"), media, frame, float(media == "b"))
        for media, length in LENGTHS.items()
        for frame in reversed(range(length))  # the index need not be in the order of time
    ]
    return build_index(folder, samples, SampleSpec(extraction=ExtractionSpec(faces=faces)))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return _index(tmp_path_factory.mktemp("faces"))


def _dataset(index, clips=True, name="none", pseudo=None, spec=SPEC):
    return FaceDataset(index, ShardReader(index.shards), name, spec, clips, pseudo)


def test_a_single_face_is_augmented_at_its_own_size_and_then_scaled(index):
    dataset = _dataset(index, clips=False, name="faces", spec=SINGLE)
    assert len(dataset) == 9
    for row, stored in enumerate(index.rows()):
        item = dataset[row, 7]
        policy_seed = int(np.random.SeedSequence(7).generate_state(4, np.uint64)[3])
        image, _ = policy("faces", None)(_crop(stored["media_id"][-1], stored["frame"]), None, policy_seed)
        expected = _view(image)
        np.testing.assert_array_equal(item["views"]["face"].numpy(), expected[None])
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
            assert item["lengths"] == len(item["views"]["face"]) <= min(length, SPEC.frames)
            expected = [_view(_crop(media, first["frame"] + k)) for k in range(item["lengths"])]
            np.testing.assert_array_equal(item["views"]["face"].numpy(), np.stack(expected))
            seen.add((first["frame"], item["lengths"]))
        lengths = range(1, min(length, SPEC.frames) + 1)
        assert seen == {(start, size) for size in lengths for start in range(length - size + 1)}


def test_the_frames_of_a_clip_are_flipped_together(index):
    dataset, flipped = _dataset(index, name="native"), set()
    for seed in range(24):
        item = dataset[0, seed]
        start = index.rows()[item["row"]]["frame"]
        means = [
            [float(np.abs(turned - _view(_crop("a", start + k))).mean()) < 12 for turned in _turns(frame)]
            for k, frame in enumerate(item["views"]["face"].numpy().astype(int))
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
            image, mask = item["views"]["face"][0].numpy(), item["mask"].numpy()
            if stored["label"] or not item["label"]:
                assert item["label"] == stored["label"] and not mask.any()
                np.testing.assert_array_equal(image, _view(_crop(stored["media_id"][-1], stored["frame"])))
                continue
            made += 1
            blend_seed = int(np.random.SeedSequence(seed).generate_state(4, np.uint64)[2])
            crop = _crop(stored["media_id"][-1], stored["frame"])
            blended = self_blend(StoredSample(crop), 1.0, blend_seed)
            np.testing.assert_array_equal(image, _view(blended.rgb))
            assert mask.mean() == pytest.approx(blended.mask.mean(), abs=0.02) and mask.any()
    assert 50 < made < 110  # of 160 draws of authentic faces


def test_a_pseudo_fake_of_which_nothing_is_seen_stays_authentic(tmp_path):
    far = _index(tmp_path, faces=FaceSpec(margin=4.0))  # faces of 20 px, of which the middle shows little
    spec = InputSpec(views={"centre": {"size": 32}})
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
    batch = collate(samples)
    count = sum(sample["lengths"] for sample in samples)
    assert (batch["views"]["face"].shape, batch["mask"].shape) == ((count, 3, 64, 64), (count, 1, 64, 64))
    assert batch["views"]["face"].dtype == batch["mask"].dtype == torch.uint8 and batch["views"]["face"].is_contiguous()
    assert batch["lengths"].tolist() == [sample["lengths"] for sample in samples]
    assert batch["label"].dtype == batch["lengths"].dtype == batch["row"].dtype == torch.int64
    assert batch["label"].tolist() == [sample["label"] for sample in samples]
    assert batch["sample_id"] == [sample["sample_id"] for sample in samples]
    assert torch.equal(batch["views"]["face"], torch.cat([sample["views"]["face"] for sample in samples]))
    assert torch.equal(batch["mask"], torch.cat([sample["mask"] for sample in samples]))


def test_single_faces_have_no_lengths(index):
    dataset = _dataset(index, clips=False, spec=SINGLE)
    batch = collate([dataset[row, row] for row in range(4)])
    assert batch["views"]["face"].shape == (4, 3, 64, 64) and "lengths" not in batch


def test_worker_processes_give_what_this_process_gives(index):
    dataset = _dataset(index, name="faces", pseudo=PseudoFakeSettings(probability=0.5))
    keys = [[(track, seed) for track in range(3)] for seed in range(4)]
    expected = [collate([dataset[key] for key in batch]) for batch in keys]
    loader = DataLoader(dataset, batch_sampler=keys, num_workers=2, collate_fn=collate, multiprocessing_context="fork")
    for batch, other in zip(loader, expected, strict=True):
        assert batch["sample_id"] == other["sample_id"]
        assert torch.equal(batch["views"]["face"], other["views"]["face"])
        assert all(torch.equal(batch[name], other[name]) for name in ("mask", "label", "lengths", "row"))


def test_a_dataset_survives_pickling(index):
    dataset = _dataset(index, name="faces", pseudo=PseudoFakeSettings())
    expected = dataset[2, 5]["views"]["face"]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[2, 5]["views"]["face"], expected)


def test_what_does_not_suit_faces_is_refused(index, tmp_path):
    with pytest.raises(SettingsError, match="policies that keep a picture"):
        _dataset(index, name="forgery")
    with pytest.raises(SettingsError, match=r"spec.extraction.faces is null"):
        _dataset(_index(tmp_path, faces=None), pseudo=PseudoFakeSettings())


def test_a_face_that_does_not_decode_is_named(index):
    table = index.table.set_column(index.table.column_names.index("size"), "size", pa.array([40] * 9, pa.int64()))
    broken = _dataset(SampleIndex(table, index.spec, index.shards, index.sha256))
    with pytest.raises(MismatchError, match=r"sample [0-9a-f]{24} cannot be read"):
        broken[0, 0]


def _weighted(fractions: list[float], labels: list[int]) -> SampleIndex:
    table = pa.table(
        {
            "sample_id": [f"s{number}" for number in range(len(labels))],
            "label": pa.array(labels, pa.int32()),
            "forged_fraction": fractions,
        }
    )
    return SampleIndex(table, SampleSpec(), "shards", "0" * 64)


@pytest.mark.parametrize(
    ("fakes", "share"),
    [
        (None, 0.5),
        ({"probability": 0.2}, 0.625),
        ({"probability": 1 / 3}, 0.75),
        ({"probability": 0.4, "real_fakes": False}, 1.0),
    ],
)
def test_half_of_all_draws_stay_authentic_when_balanced(fakes, share):
    settings = FacesSampling(balanced=True, pseudo_fakes=None if fakes is None else PseudoFakeSettings(**fakes))
    index = _weighted([0.0] * 7 + [1.0] * 3, [0] * 7 + [1] * 3)
    weights = sample_weights(index, frozenset({"s0"}), settings)
    assert weights.sum() == pytest.approx(1)
    assert weights[:7].sum() == pytest.approx(share)
    assert weights[0] == pytest.approx(5 * weights[1])  # balance keeps the proportions within a class
    if fakes is None or fakes.get("real_fakes", True):
        assert share * (1 - (fakes or {"probability": 0})["probability"]) == pytest.approx(0.5)


def test_real_fakes_are_never_drawn_where_pseudo_fakes_stand_for_them():
    settings = FacesSampling(pseudo_fakes=PseudoFakeSettings(real_fakes=False))
    index = _weighted([0.0, 1.0, 0.0, 1.0], [0, 1, 0, 1])
    assert sample_weights(index, frozenset(), settings).tolist() == [1, 0, 1, 0]


def test_a_track_weighs_what_its_heaviest_row_does():
    index = _weighted([0.0, 1.0, 0.0, 0.0, 0.005], [0, 1, 0, 0, 1])
    table = index.table.append_column("media_id", pa.array(["a", "b", "a", "c", "b"]))
    table = table.append_column("track", pa.array([0, 0, 0, 0, 1])).append_column("frame", pa.array([0, 0, 1, 0, 0]))
    table = table.append_column("run", pa.array([0] * 5))
    index = SampleIndex(table, index.spec, index.shards, index.sha256)
    weights = sample_weights(index, frozenset({"s2"}), FacesSampling(), find_tracks(index))
    assert weights.tolist() == [5, 1, 3, 1]  # a, both tracks of b, c


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(BadInputError, match="nothing to draw from"):
        sample_weights(_weighted([], []), frozenset(), FacesSampling())


def _samples(index, clips=True, **sampling):
    request = TrainingRequest(
        index=index, reader=ShardReader(index.shards), hard_negatives=frozenset(), input=SPEC if clips else SINGLE,
        clips=clips, policy="faces", sampling=FacesSampling(**sampling),
    )  # fmt: skip
    return training_samples(request)


def test_networks_of_clips_draw_tracks_and_others_faces(index):
    clips, faces = _samples(index), _samples(index, clips=False)
    assert len(clips.weights) == len(clips.dataset) == 3 and len(faces.weights) == len(faces.dataset) == 9
    assert "lengths" in clips.collate([clips.dataset[0, 0]])
    assert "lengths" not in faces.collate([faces.dataset[0, 0]])


def test_pseudo_fakes_come_from_the_settings(index):
    samples = _samples(index, pseudo_fakes=PseudoFakeSettings(probability=1.0, real_fakes=False))
    drawn = [samples.dataset[int(track), 0] for track in samples.weights.nonzero()[0]]
    assert len(drawn) == 2  # the real ones
    assert all(sample["label"] == 1 and sample["mask"].any() for sample in drawn)
