"""Running classifiers over media, with networks whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bundle.faces.scores import clip_slices
from core.errors import BadInputError, SettingsError, VeriframeError
from data.datasets import load_sample
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from judging.faces import FaceMember, judge_media
from judging.guard import SplitLeakError
from judging.validate import validate
from media.degrade import degradation
from media.inputs import face_view
from media.spec import InputSpec
from models.inputs import Normalize

SPEC = InputSpec(view="whole", size=48, frames=2)
SMALL = InputSpec(view="centre", size=32)


class Brightness(nn.Module):
    """The logit of a picture is its mean; that of a clip the mean over its frames, the first weighing double."""

    def __init__(self, clips: bool = False) -> None:
        super().__init__()
        self.clips, self.batches = clips, []
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        frames = self.drop(x.mean(dim=(1, 2, 3)))
        self.batches.append((len(x), None if lengths is None else lengths.tolist()))
        if lengths is None:
            return frames[:, None]
        assert self.clips and lengths.dtype == torch.int64 and int(lengths.sum()) == len(x)
        return torch.stack([_of_clip(clip) for clip in frames.split(lengths.tolist())])[:, None]


def _of_clip(frames):
    return (frames.sum() + frames[0]) / (len(frames) + 1)


def _member(name="clips", spec=SPEC, clips=True):
    return FaceMember(name, Brightness(clips).eval(), spec, clips)


def _logits(rows, reader, spec, change=lambda rgb: rgb):
    planes = [face_view(change(load_sample(row, reader)[0]), spec) for row in rows]
    return Normalize.from_spec(spec)(torch.from_numpy(np.stack(planes))).mean(dim=(1, 2, 3))


@pytest.fixture(scope="module")
def data(tiny_faces):
    index = read_index(tiny_faces)
    return index, ShardReader(index.shards)


def _shuffled(index: SampleIndex) -> SampleIndex:
    order = np.random.default_rng(1).permutation(len(index))
    return SampleIndex(index.table.take(order), index.spec, index.shards, index.sha256)


@pytest.mark.parametrize("batch_size", [1, 4, 500])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_medium_comes_once_with_the_logits_of_its_frames_and_clips(data, batch_size, workers):
    index, reader = data
    members = [_member(), _member("pictures", SMALL, clips=False)]
    media = list(judge_media(members, _shuffled(index), reader, device="cpu", batch_size=batch_size, workers=workers))
    names = [medium.row["media_id"] for medium in media]
    assert names == sorted(set(index.column("media_id")))
    for medium in media:
        (track,) = medium.tracks
        assert [row["frame"] for row in track.rows] == [0, 1, 2]
        assert {row["media_id"] for row in track.rows} == {medium.row["media_id"]}
        assert medium.row.items() <= track.rows[0].items()
        assert set(track.clip_logits) == {"clips"}
        for member in members:
            np.testing.assert_allclose(
                track.frame_logits[member.name], _logits(track.rows, reader, member.input), atol=1e-5
            )
        frames = _logits(track.rows, reader, SPEC)
        expected = [float(_of_clip(frames[one])) for one in clip_slices(3, SPEC.frames)]
        np.testing.assert_allclose(track.clip_logits["clips"], expected, atol=1e-5)


def test_tracks_are_judged_apart_and_clips_do_not_cross_them(data):
    index, reader = data
    rows = index.where(media_id=sorted(set(index.column("media_id")))[:2]).rows()
    for row in rows:
        row["track"] = int(row["frame"] == 1)
    table = index.table.from_pylist(rows, schema=index.table.schema)
    member = _member()
    media = list(judge_media([member], replace(index, table=table), reader, device="cpu"))
    assert [[len(track.rows) for track in medium.tracks] for medium in media] == [[2, 1], [2, 1]]
    for medium in media:
        for track in medium.tracks:
            frames = _logits(track.rows, reader, SPEC)
            np.testing.assert_allclose(track.clip_logits["clips"], [float(_of_clip(frames))], atol=1e-5)


def test_batches_are_full_across_media(data):
    index, reader = data
    member = _member()
    list(judge_media([member], index.where(split="val"), reader, device="cpu", batch_size=6))
    frames = [count for count, lengths in member.network.batches if lengths is None]
    clips = [lengths for _, lengths in member.network.batches if lengths is not None]
    assert frames == [6, 6, 6]
    assert sum(map(sum, clips)) == 18 and all(sum(lengths) >= 6 for lengths in clips[:-1])


def test_crops_are_degraded_before_they_are_scaled(data):
    index, reader = data
    val = index.where(split="val")
    (medium, *_) = judge_media([_member()], val, reader, device="cpu", degrade=degradation("blur"))
    expected = _logits(medium.tracks[0].rows, reader, SPEC, degradation("blur"))
    np.testing.assert_allclose(medium.tracks[0].frame_logits["clips"], expected, atol=1e-5)


def test_a_crop_that_does_not_decode_is_named_or_left_out(data):
    index, reader = data
    rows = index.where(split="val").rows()
    rows[1]["size"] = 40
    lost = {row["media_id"] for row in rows[3:6]}
    assert len(lost) == 1
    for row in rows[3:6]:
        row["size"] = 40
    broken = replace(index, table=index.table.from_pylist(rows, schema=index.table.schema))
    with pytest.raises(BadInputError):
        list(judge_media([_member()], broken, reader, device="cpu"))
    found = []
    media = list(
        judge_media([_member()], broken, reader, device="cpu", unreadable=lambda row, error: found.append(row))
    )
    assert {row["sample_id"] for row in found} == {rows[n]["sample_id"] for n in (1, 3, 4, 5)}
    assert lost.isdisjoint(medium.row["media_id"] for medium in media)
    assert sorted(len(medium.tracks[0].rows) for medium in media) == [2, 3, 3, 3, 3]


def test_nothing_to_judge_gives_nothing(data):
    index, reader = data
    assert list(judge_media([_member()], index.where(split="none"), reader, device="cpu")) == []


def test_wrong_members_and_precisions_are_refused(data):
    index, reader = data
    with pytest.raises(SettingsError, match="unique names, got a, a"):
        list(judge_media([_member("a"), _member("a")], index, reader, device="cpu"))
    with pytest.raises(SettingsError, match="unique names, got none"):
        list(judge_media([], index, reader, device="cpu"))
    with pytest.raises(SettingsError, match="'fp8'"):
        list(judge_media([_member()], index, reader, device="cpu", precision="fp8"))


def test_running_out_of_memory_says_what_to_lower(data):
    index, reader = data

    class Greedy(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(VeriframeError, match="faces of 48 px; lower batch_size"):
        list(judge_media([FaceMember("greedy", Greedy(), SPEC, False)], index, reader, device="cpu"))


def test_validation_judges_media_of_val_and_leaves_the_network_as_it_was(data):
    index, reader = data
    network = Brightness(clips=True)
    network.drop.eval()
    options = {"device": "cpu", "task": "classification", "clips": True}
    figures = validate(network, index.where(split="val"), reader, SPEC, **options)
    assert set(figures) == {
        "loss", "auc", "frame_auc", "eer", "threshold", "balanced_accuracy", "authentic_fpr"
    }  # fmt: skip
    assert network.training and not network.drop.training
    assert {lengths is None for _, lengths in network.batches} == {True, False}
    with pytest.raises(SplitLeakError):
        validate(network, index, reader, SPEC, **options)
    with pytest.raises(BadInputError, match="no manipulated media"):
        validate(network, index.where(split="val", label=0), reader, SPEC, **options)
