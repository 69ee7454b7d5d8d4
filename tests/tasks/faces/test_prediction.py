"""Running classifiers over media, with networks whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bundle.faces.windows import windows
from core.errors import BadInputError, SettingsError, VeriframeError
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from data.stored import load_sample
from media.degrade import degradation
from media.pixel_view import PixelView
from media.spec import InputSpec
from media.view import StoredSample
from models.inputs import Normalize
from tasks.faces.media_scores import Calibration, collect_media
from tasks.faces.prediction import FaceMember, predict_media

SPEC = InputSpec(views={"face": {"size": 48}}, frames=2)
SMALL = InputSpec(views={"centre": {"size": 32}})


class Brightness(nn.Module):
    """The logit of a picture is its mean; that of a clip the mean over its frames, the first weighing double."""

    def __init__(self, clips: bool = False) -> None:
        super().__init__()
        self.clips, self.batches = clips, []
        self.drop = nn.Dropout(0.5)

    def forward(self, views: dict[str, torch.Tensor], lengths: torch.Tensor | None = None) -> torch.Tensor:
        x = next(iter(views.values()))
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
    arrays = [
        spec.only.cut(replace(sample, rgb=change(sample.rgb))) for row in rows for sample in [load_sample(row, reader)]
    ]
    (name,) = spec.views
    return Normalize(spec)({name: torch.from_numpy(np.stack(arrays))})[name].mean(dim=(1, 2, 3))


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
    media = list(predict_media(members, _shuffled(index), reader, device="cpu", batch_size=batch_size, workers=workers))
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
        expected = [float(_of_clip(frames[one])) for one in (slice(0, 2), slice(2, 3))]
        np.testing.assert_allclose(track.clip_logits["clips"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({0: {"run": 0}, 1: {"run": 1}, 2: {"run": 1}}, [1, 2]),
        ({2: {"frame": 3}}, [2, 1]),
        ({1: {"frame": 4}, 2: {"frame": 8}}, [1, 1, 1]),
    ],
    ids=["another run", "a missed face", "frames far apart"],
)
def test_clips_hold_consecutive_frames_of_one_run(data, changes, expected):
    index, reader = data
    rows = index.where(media_id=sorted(set(index.column("media_id")))[:1]).rows()
    rows.sort(key=lambda row: row["frame"])
    for number, change in changes.items():
        rows[number] |= change
    table = index.table.from_pylist(rows, schema=index.table.schema)
    member = _member(spec=SPEC.model_copy(update={"frames": 8}))
    (medium,) = predict_media([member], replace(index, table=table), reader, device="cpu")
    lengths = [length for _, lengths in member.network.batches if lengths is not None for length in lengths]
    assert lengths == expected
    frames = _logits(medium.tracks[0].rows, reader, SPEC)
    cut = windows([(row["run"], row["frame"]) for row in medium.tracks[0].rows], 1, 8)
    np.testing.assert_allclose(
        medium.tracks[0].clip_logits["clips"], [float(_of_clip(frames[one])) for one in cut], atol=1e-5
    )


def test_tracks_are_predicted_apart_and_clips_do_not_cross_them(data):
    index, reader = data
    rows = index.where(media_id=sorted(set(index.column("media_id")))[:2]).rows()
    for row in rows:
        row["track"] = int(row["frame"] == 1)
    table = index.table.from_pylist(rows, schema=index.table.schema)
    member = _member()
    media = list(predict_media([member], replace(index, table=table), reader, device="cpu"))
    assert [[len(track.rows) for track in medium.tracks] for medium in media] == [[2, 1], [2, 1]]
    for medium in media:
        apart, alone = (_logits(track.rows, reader, SPEC) for track in medium.tracks)
        found = [track.clip_logits["clips"] for track in medium.tracks]
        np.testing.assert_allclose(found[0], apart, atol=1e-5)  # frames 0 and 2
        np.testing.assert_allclose(found[1], alone, atol=1e-5)


def test_batches_are_full_across_media(data):
    index, reader = data
    member = _member()
    list(predict_media([member], index.where(split="val"), reader, device="cpu", batch_size=6))
    frames = [count for count, lengths in member.network.batches if lengths is None]
    clips = [lengths for _, lengths in member.network.batches if lengths is not None]
    assert frames == [6, 6, 6]
    assert sum(map(sum, clips)) == 18 and all(sum(lengths) >= 6 for lengths in clips[:-1])


def test_crops_are_degraded_before_they_are_scaled(data):
    index, reader = data
    val = index.where(split="val")
    (medium, *_) = predict_media([_member()], val, reader, device="cpu", degrade=degradation("blur"))
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
        list(predict_media([_member()], broken, reader, device="cpu"))
    found = []
    media = list(
        predict_media([_member()], broken, reader, device="cpu", unreadable=lambda row, error: found.append(row))
    )
    assert {row["sample_id"] for row in found} == {rows[n]["sample_id"] for n in (1, 3, 4, 5)}
    assert lost.isdisjoint(medium.row["media_id"] for medium in media)
    assert sorted(len(medium.tracks[0].rows) for medium in media) == [2, 3, 3, 3, 3]


def test_an_empty_index_gives_nothing(data):
    index, reader = data
    assert list(predict_media([_member()], index.where(split="none"), reader, device="cpu")) == []


def test_wrong_members_and_precisions_are_refused(data):
    index, reader = data
    with pytest.raises(SettingsError, match="unique names, got a, a"):
        list(predict_media([_member("a"), _member("a")], index, reader, device="cpu"))
    with pytest.raises(SettingsError, match="unique names, got none"):
        list(predict_media([], index, reader, device="cpu"))
    with pytest.raises(SettingsError, match="'fp8'"):
        list(predict_media([_member()], index, reader, device="cpu", precision="fp8"))


def test_running_out_of_memory_says_what_to_lower(data):
    index, reader = data

    class Greedy(nn.Module):
        def forward(self, views):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(VeriframeError, match="faces of 3×48×48; lower batch_size"):
        list(predict_media([FaceMember("greedy", Greedy(), SPEC, False)], index, reader, device="cpu"))


class Brow(PixelView):
    """A toy view that some samples lack: those whose top left pixel is not red enough."""

    name = "brow"
    optional = True

    def crop(self, sample):
        return None

    def fit(self, planes):
        return planes

    def cut(self, sample: StoredSample):
        if sample.rgb[0, 0, 0] == 0:
            return None
        return np.full((3, 32, 32), 7, np.uint8)


class Optional(nn.Module):
    """The logit is 1 where the view is there, else -1."""

    def forward(self, views, lengths=None):
        present = views["brow_present"]
        assert present.dtype == torch.bool
        logits = torch.where(present, 1.0, -1.0)
        return (
            logits[:, None]
            if lengths is None
            else torch.stack([one.mean() for one in logits.split(lengths.tolist())])[:, None]
        )


@pytest.fixture
def partly(data, monkeypatch):
    """Rows of three media of three frames: the first has the toy view, the second lacks it once, the third always."""
    index, _ = data
    names = sorted(set(index.column("media_id")))[:3]
    lacking = {(names[1], 1), *((names[2], frame) for frame in range(3))}

    def load(row, reader):
        sample = load_sample(row, reader)
        rgb = sample.rgb.copy()
        rgb[0, 0] = 0 if (row["media_id"], row["frame"]) in lacking else 255
        return replace(sample, rgb=rgb)

    monkeypatch.setattr("tasks.faces.prediction.load_sample", load)
    return index.where(media_id=names)


def _optional(name="optional", clips=True):
    spec = InputSpec.model_construct(views={"brow": Brow(size=32)}, frames=2)
    return FaceMember(name, Optional().eval(), spec, clips)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_member_abstains_of_a_track_none_of_whose_frames_shows_its_view(data, partly, batch_size):
    members = [_optional(), _member("other")]
    media = list(predict_media(members, partly, data[1], device="cpu", batch_size=batch_size))
    tracks = [medium.tracks[0] for medium in media]
    assert [set(track.frame_logits) for track in tracks] == [{"optional", "other"}, {"optional", "other"}, {"other"}]
    assert [set(track.clip_logits) for track in tracks] == [{"optional", "other"}, {"optional", "other"}, {"other"}]
    assert tracks[0].frame_logits["optional"].tolist() == [1, 1, 1]
    # A view that is there in some frames is read as it is: the mask says where it is not.
    assert tracks[1].frame_logits["optional"].tolist() == [1, -1, 1]


def test_weights_count_among_those_that_speak_and_without_any_there_is_no_score(data, partly):
    members = [_optional(), _member("other")]
    logits = collect_media(predict_media(members, partly, data[1], device="cpu"), [member.name for member in members])
    both = {"optional": Calibration(weight=3.0), "other": Calibration(weight=1.0)}
    other = {"other": Calibration()}
    scores = logits.scores(both)
    assert scores[2] == pytest.approx(logits.scores(other)[2])
    assert scores[0] == pytest.approx(0.75 / (1 + np.exp(-1)) + 0.25 * logits.scores(other)[0])
    alone = {"optional": Calibration()}
    assert np.isnan(logits.scores(alone)).tolist() == [False, False, True]
    assert len(logits.scored_by(alone)) == 2 and logits.scored_by(both) is logits
    frames, owners = logits.frame_scores(alone)
    assert len(frames) == 6 and set(owners.tolist()) == {0, 1}


def test_views_that_members_share_are_cut_once(data, monkeypatch):
    index, reader = data
    val, cuts, cut = index.where(split="val"), [], type(SPEC.only).cut

    def counted(view, sample):
        cuts.append(view)
        return cut(view, sample)

    monkeypatch.setattr(type(SPEC.only), "cut", counted)
    other = SPEC.model_copy(update={"frames": 1})
    list(predict_media([_member("a"), _member("b", other)], val, reader, device="cpu"))
    assert len(cuts) == len(val)
