from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.face_bundles import SPECS, TEMPERATURES, WEIGHTS, write_tiny_face_bundle
from bundle import Bundle, VerifiedBundle, open_networks, read_bundle
from bundle.faces.analysis import (
    MemberScores,
    analyze_faces,
    clip_inputs,
    decide_tracks,
    ensemble_heatmap,
    extraction_for_video,
    member_scores,
    track_windows,
)
from bundle.faces.protocol import OUTPUTS, verdict_arrays
from bundle.faces.scores import abstains, shown_views
from bundle.faces.windows import windows
from media.extraction import EvenFrames, ExtractionSpec, FaceSpec
from media.pixel_view import Cropped
from media.spec import InputSpec
from media.view import StoredSample
from media.views.face import FaceView


@dataclass
class Crop:
    track: int
    run: int
    frame: int
    sample: StoredSample


@dataclass
class Found:
    crops: Sequence[Crop]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> VerifiedBundle:
    return read_bundle(write_tiny_face_bundle(tmp_path_factory.mktemp("faces")))


def crops(count: int, track: int = 0, seed: int = 0) -> list[Crop]:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [
        Crop(track, 0, frame, StoredSample(np.asarray(cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC))))
        for frame, one in enumerate(coarse)
    ]


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_the_verdict_is_that_of_the_arithmetic_written_out(bundle: VerifiedBundle) -> None:
    found = Found(crops(6, 0) + crops(3, 7, seed=1))
    networks = open_networks(bundle, "onnx")
    verdict = analyze_faces(found, bundle.document, networks, batch_size=2)
    expected = {}
    for track in (0, 7):
        views = {
            name: np.stack(
                [
                    cv2.resize(crop.sample.rgb, spec.only.tensor.shape[1:]).transpose(2, 0, 1)
                    for crop in found.crops
                    if crop.track == track
                ]
            )
            for name, spec in SPECS.items()
        }
        outputs = {name: networks[name]["model"]({"face": np.ascontiguousarray(view)}) for name, view in views.items()}
        frames = {name: sigmoid(output["logits"][:, 0] / TEMPERATURES[name]) for name, output in outputs.items()}
        vectors = outputs["clips"]["vectors"]
        clips = []
        for start in range(0, len(vectors), 4):
            part = vectors[start : start + 4]
            padded = np.concatenate([part, np.zeros((4 - len(part), 4), np.float32)])[None]
            logits = networks["clips"]["clip"]({"vectors": padded, "lengths": np.array([len(part)])})["logits"]
            clips.append(sigmoid(logits[0] / TEMPERATURES["clips"])[0])
        whole = {"stills": frames["stills"].mean(), "clips": np.mean(clips)}
        expected[track] = sum(WEIGHTS[name] * whole[name] for name in whole)
        (track_verdict,) = [one for one in verdict.tracks if one.track == track]
        assert track_verdict.members == pytest.approx(whole, abs=1e-6)
        np.testing.assert_allclose(
            track_verdict.frames, sum(WEIGHTS[name] * frames[name] for name in frames), atol=1e-6
        )
    assert {one.track: one.probability for one in verdict.tracks} == pytest.approx(expected, abs=1e-6)
    assert verdict.probability == pytest.approx(max(expected.values()), abs=1e-6)
    assert verdict.outcome == "judged"
    assert verdict.verdict == ("manipulated" if max(expected.values()) >= 0.5 else "authentic")
    assert [opinion.name for opinion in verdict.members] == ["stills", "clips"]


def test_no_face_is_an_outcome_without_a_probability(bundle: VerifiedBundle) -> None:
    verdict = analyze_faces(Found([]), bundle.document, open_networks(bundle, "onnx"))
    assert (verdict.outcome, verdict.verdict, verdict.probability) == ("no_face", None, None)


def scores(frames: Sequence[float], clips: Sequence[float]) -> dict[str, MemberScores | None]:
    return {"stills": MemberScores(np.array(frames)), "clips": MemberScores(np.array(frames), np.array(clips))}


def test_faces_seen_too_shortly_are_left_out_and_alone_are_an_outcome(bundle: VerifiedBundle) -> None:
    tracks = {0: scores([9.0, 9.0], [9.0]), 1: scores([-1.0] * 5, [-1.0, -1.0])}
    assert [one.track for one in decide_tracks(bundle.document, tracks, min_frames=3).tracks] == [1]
    verdict = decide_tracks(bundle.document, tracks, min_frames=6)
    assert (verdict.outcome, verdict.verdict, verdict.tracks) == ("too_short", None, ())


def test_the_weights_of_a_track_are_those_of_the_members_that_do_not_abstain(bundle: VerifiedBundle) -> None:
    both, alone = scores([1.0, -2.0], [2.0]), scores([3.0], [9.0]) | {"clips": None}
    verdict = decide_tracks(bundle.document, {0: both, 1: alone})
    stills = sigmoid(np.array([3.0]) / TEMPERATURES["stills"])
    first, second = verdict.tracks
    assert set(first.members) == {"stills", "clips"}
    assert second.members == {"stills": pytest.approx(stills[0])}
    assert second.probability == pytest.approx(stills[0])
    np.testing.assert_allclose(second.frames, stills)
    assert (first.abstained, second.abstained, verdict.abstained) == ((), ("clips",), ())
    assert [one.name for one in verdict.members] == ["stills", "clips"]
    assert verdict.members[0].probability == pytest.approx(stills[0])
    assert verdict.members[1].probability == first.members["clips"]


def test_who_abstained_from_the_decisive_face_is_known(bundle: VerifiedBundle) -> None:
    """The second member speaks of the other face alone, so it has no part in the score."""
    tracks: dict[int, dict[str, MemberScores | None]] = {
        0: {"stills": MemberScores(np.array([5.0])), "clips": None},
        1: scores([-5.0], [-5.0]),
    }
    verdict = decide_tracks(bundle.document, tracks)
    assert verdict.verdict == "manipulated"
    assert {track.track: track.abstained for track in verdict.tracks} == {0: ("clips",), 1: ()}
    assert verdict.probability == verdict.tracks[0].members["stills"]
    arrays = verdict_arrays(verdict, {0: (0, 0, 9, 9), 1: (9, 0, 18, 9)}, ["stills", "clips"])
    np.testing.assert_array_equal(arrays["abstained"], [[False, True], [False, False]])
    assert {name: array.ndim for name, array in arrays.items()} == {n: len(s.shape) for n, s in OUTPUTS.items()}


@pytest.mark.parametrize("silent", [{"clips": None}, {}])
def test_a_member_that_abstains_from_every_track_is_named(
    bundle: VerifiedBundle, silent: dict[str, MemberScores | None]
) -> None:
    stills: dict[str, MemberScores | None] = {"stills": MemberScores(np.array([4.0, 4.0]))}
    verdict = decide_tracks(bundle.document, {0: stills | silent, 1: stills | silent})
    assert verdict.outcome == "judged"
    assert verdict.abstained == ("clips",)
    assert [one.name for one in verdict.members] == ["stills"]
    assert verdict.probability == pytest.approx(sigmoid(np.array([4.0]) / TEMPERATURES["stills"])[0])


def test_where_every_member_abstains_there_is_no_verdict(bundle: VerifiedBundle) -> None:
    verdict = decide_tracks(bundle.document, {0: {"stills": None, "clips": None}})
    assert (verdict.outcome, verdict.verdict, verdict.probability) == ("abstained", None, None)
    assert (verdict.tracks, verdict.members, verdict.abstained) == ((), (), ("stills", "clips"))
    short = {0: scores([1.0], [1.0]), 1: {"stills": None, "clips": None}}
    assert decide_tracks(bundle.document, short, min_frames=2).outcome == "abstained"
    assert [one.track for one in decide_tracks(bundle.document, short).tracks] == [0]


class Bright(FaceView):
    """A view that dark crops do not have."""

    name: ClassVar[str] = "bright"
    optional: ClassVar[bool] = True

    def crop(self, sample: StoredSample) -> Cropped | None:  # type: ignore[override]
        return None if sample.rgb.mean() < 100 else super().crop(sample)


def test_a_member_abstains_where_an_optional_view_is_missing_in_all_frames(bundle: VerifiedBundle) -> None:
    spec = InputSpec.model_construct(views={"face": FaceView(size=32), "bright": Bright(size=32)}, frames=1)
    member = bundle.document.members[0].model_copy(update={"input": spec})
    seen: list[NDArray[np.bool_]] = []

    def model(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        seen.append(arrays["bright_present"])
        return {"logits": arrays["bright"].mean(axis=(1, 2, 3), dtype=np.float32)[:, None]}

    dark, light = (StoredSample(np.full((40, 40, 3), value, np.uint8)) for value in (0, 200))
    assert member_scores([dark, dark], [], member, {"model": model}) is None
    assert seen == []
    found = member_scores([dark, light, light], [], member, {"model": model}, batch_size=2)
    assert found is not None
    np.testing.assert_array_equal(found.frames, [0, 200, 200])
    np.testing.assert_array_equal(np.concatenate(seen), [False, True, True])


def test_a_member_abstains_where_no_frame_shows_one_of_its_views() -> None:
    frames = [{"face": 1, "bright": None}, {"face": None, "bright": None}]
    assert shown_views(frames) == {"face"}
    assert not abstains(["face"], shown_views(frames))
    assert abstains(["face", "bright"], shown_views(frames))
    assert not abstains(["face", "bright"], shown_views([*frames, {"face": None, "bright": 1}]))


def test_faces_are_cut_as_wide_as_the_widest_view(bundle: VerifiedBundle) -> None:
    stills = bundle.document.members[0]
    turned = InputSpec(views={"face": FaceView(size=32, margin=1.5, alignment="landmarks5")})
    wide = bundle.document.model_copy(
        update={"members": (stills, stills.model_copy(update={"name": "wide", "input": turned}))}
    )
    given = ExtractionSpec(faces=FaceSpec(margin=1.3))
    of_stills = extraction_for_video(wide.model_copy(update={"extraction": given}), 12)
    assert of_stills.frames == EvenFrames(count=12)
    assert of_stills.faces is not None
    assert of_stills.faces.margin == pytest.approx(1.5 * 2**0.5)
    of_clips = extraction_for_video(wide, 12)
    assert of_clips.frames == bundle.document.extraction.frames
    assert of_clips.faces == of_stills.faces


@given(logits=st.lists(st.floats(-30, 30), min_size=1, max_size=6))
def test_one_suspicious_face_makes_a_suspicious_medium(bundle: VerifiedBundle, logits: list[float]) -> None:
    tracks = {number: scores([logit], [logit]) for number, logit in enumerate(logits)}
    verdict = decide_tracks(bundle.document, tracks)
    assert verdict.probability == max(one.probability for one in verdict.tracks)
    worst = logits.index(max(logits))
    assert decide_tracks(bundle.document, {0: tracks[worst]}).probability == verdict.probability
    assert (verdict.verdict == "manipulated") == (verdict.probability >= verdict.threshold)


def test_the_clips_of_a_track_are_of_consecutive_frames_of_one_run(bundle: VerifiedBundle) -> None:
    member = bundle.document.members[1]
    assert (member.input.frames, bundle.document.extraction.step) == (4, 1)
    seen = crops(9)
    for crop, (run, frame) in zip(seen, [(0, n) for n in range(5)] + [(1, 90), (1, 91), (1, 93), (1, 94)], strict=True):
        crop.run, crop.frame = run, frame
    expected = [slice(0, 4), slice(4, 5), slice(5, 7), slice(7, 9)]
    assert track_windows(seen, bundle.document, member) == expected
    lengths: list[int] = []

    def clip(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        lengths.extend(arrays["lengths"].tolist())
        return networks["clips"]["clip"](arrays)

    networks = open_networks(bundle, "onnx")
    analyze_faces(Found(seen), bundle.document, {**networks, "clips": {**networks["clips"], "clip": clip}})
    assert lengths == [4, 1, 2, 2]


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_clips_hold_every_vector_once_in_order(count: int) -> None:
    vectors = np.arange(1, 2 * count + 1, dtype=np.float32).reshape(count, 2)
    padded, lengths = clip_inputs(vectors, windows(((0, frame) for frame in range(count)), 1, 4), 4)
    assert padded.shape[1:] == (4, 2)
    assert lengths.dtype == np.int64
    kept = [clip[:length] for clip, length in zip(padded, lengths, strict=True)]
    np.testing.assert_array_equal(np.concatenate(kept), vectors)
    assert all(not clip[length:].any() for clip, length in zip(padded, lengths, strict=True))


def test_heatmaps_are_weighed_at_the_finest_size() -> None:
    coarse, fine = np.full((2, 2), 0.2, np.float32), np.full((8, 8), 0.6, np.float32)
    found = ensemble_heatmap({"a": coarse, "b": fine}, {"a": 0.25, "b": 0.75, "c": 0.5})
    assert found is not None
    assert (found.shape, found.dtype) == ((8, 8), np.float32)
    np.testing.assert_allclose(found, 0.5, atol=1e-6)
    assert ensemble_heatmap({}, {"c": 1.0}) is None
    unweighed = ensemble_heatmap({"a": coarse, "b": fine}, {"a": 0.0, "b": 0.0})
    assert unweighed is not None
    np.testing.assert_allclose(unweighed, 0.4, atol=1e-6)


def test_it_needs_no_torch(bundle: VerifiedBundle, tmp_path: Path) -> None:
    import subprocess
    import sys

    absent = dict.fromkeys(["torch", "components", "models"])
    program = f"import sys; sys.modules.update({absent}); import bundle.faces.analysis"
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=60)
    assert isinstance(bundle.document, Bundle)
