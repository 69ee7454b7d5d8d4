from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.face_bundles import SPECS, TEMPERATURES, WEIGHTS, write_tiny_face_bundle
from bundle import Bundle, VerifiedBundle, open_faces, read_bundle
from bundle.faces.analysis import MemberScores, clip_inputs, ensemble_heatmap, judge_faces, judge_tracks


@dataclass
class Crop:
    track: int
    rgb: NDArray[np.uint8]


@dataclass
class Found:
    crops: Sequence[Crop]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> VerifiedBundle:
    return read_bundle(write_tiny_face_bundle(tmp_path_factory.mktemp("faces")))


def crops(count: int, track: int = 0, seed: int = 0) -> list[Crop]:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [Crop(track, np.asarray(cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC))) for one in coarse]


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_the_verdict_is_that_of_the_arithmetic_written_out(bundle: VerifiedBundle) -> None:
    found = Found(crops(6, 0) + crops(3, 7, seed=1))
    runs = open_faces(bundle, "onnx")
    verdict = judge_faces(found, bundle.document, runs, batch_size=2)
    expected = {}
    for track in (0, 7):
        views = {
            name: np.stack(
                [
                    cv2.resize(crop.rgb, (spec.size, spec.size)).transpose(2, 0, 1)
                    for crop in found.crops
                    if crop.track == track
                ]
            )
            for name, spec in SPECS.items()
        }
        outputs = {name: runs[name].frames(np.ascontiguousarray(view)) for name, view in views.items()}
        frames = {name: sigmoid(output["logits"][:, 0] / TEMPERATURES[name]) for name, output in outputs.items()}
        vectors = outputs["clips"]["vectors"]
        clips = []
        for start in range(0, len(vectors), 4):
            part = vectors[start : start + 4]
            padded = np.concatenate([part, np.zeros((4 - len(part), 4), np.float32)])[None]
            clip = runs["clips"].clip
            assert clip is not None
            clips.append(sigmoid(clip(padded, np.array([len(part)]))[0] / TEMPERATURES["clips"])[0])
        whole = {"stills": frames["stills"].mean(), "clips": np.mean(clips)}
        expected[track] = sum(WEIGHTS[name] * whole[name] for name in whole)
        (judged,) = [one for one in verdict.tracks if one.track == track]
        assert judged.members == pytest.approx(whole, abs=1e-6)
        np.testing.assert_allclose(judged.frames, sum(WEIGHTS[name] * frames[name] for name in frames), atol=1e-6)
    assert {one.track: one.probability for one in verdict.tracks} == pytest.approx(expected, abs=1e-6)
    assert verdict.probability == pytest.approx(max(expected.values()), abs=1e-6)
    assert verdict.outcome == "judged"
    assert verdict.verdict == ("manipulated" if max(expected.values()) >= 0.5 else "authentic")
    assert [opinion.name for opinion in verdict.members] == ["stills", "clips"]


def test_no_face_is_an_outcome_without_a_probability(bundle: VerifiedBundle) -> None:
    verdict = judge_faces(Found([]), bundle.document, open_faces(bundle, "onnx"))
    assert (verdict.outcome, verdict.verdict, verdict.probability) == ("no_face", None, None)


def scores(frames: Sequence[float], clips: Sequence[float]) -> dict[str, MemberScores]:
    return {"stills": MemberScores(np.array(frames)), "clips": MemberScores(np.array(frames), np.array(clips))}


def test_faces_seen_too_shortly_are_left_out_and_alone_are_an_outcome(bundle: VerifiedBundle) -> None:
    tracks = {0: scores([9.0, 9.0], [9.0]), 1: scores([-1.0] * 5, [-1.0, -1.0])}
    assert [one.track for one in judge_tracks(bundle.document, tracks, min_frames=3).tracks] == [1]
    verdict = judge_tracks(bundle.document, tracks, min_frames=6)
    assert (verdict.outcome, verdict.verdict, verdict.tracks) == ("too_short", None, ())


@given(logits=st.lists(st.floats(-30, 30), min_size=1, max_size=6))
def test_one_suspicious_face_makes_a_suspicious_medium(bundle: VerifiedBundle, logits: list[float]) -> None:
    tracks = {number: scores([logit], [logit]) for number, logit in enumerate(logits)}
    verdict = judge_tracks(bundle.document, tracks)
    assert verdict.probability == max(one.probability for one in verdict.tracks)
    worst = logits.index(max(logits))
    assert judge_tracks(bundle.document, {0: tracks[worst]}).probability == verdict.probability
    assert (verdict.verdict == "manipulated") == (verdict.probability >= verdict.threshold)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_clips_hold_every_vector_once_in_order(count: int) -> None:
    vectors = np.arange(1, 2 * count + 1, dtype=np.float32).reshape(count, 2)
    padded, lengths = clip_inputs(vectors, 4)
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
