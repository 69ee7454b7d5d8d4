import hashlib
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from core.errors import BadInputError, MismatchError, SettingsError
from media.extraction import YUNET_SHA256, ClipFrames, DetectorSpec, EvenFrames, ExtractionSpec, FaceSpec
from media.faces import Face, FaceDetector, faces_of_picture, faces_of_video
from media.faces.detector import MAX_FACES, WEIGHTS
from media.faces.tracking import Tracker, between, colours, is_cut, overlap, smoothed
from tests.clips import portrait, write_clip

EYES = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(DetectorSpec())


def spec(frames: Any = None, **faces: Any) -> ExtractionSpec:
    policy = frames or EvenFrames(count=9)
    return ExtractionSpec(decoder="pyav", frames=policy, faces=FaceSpec(**faces), store="png")


def face(x0: float, y0: float, side: float, score: float = 0.9) -> Face:
    landmarks = np.array([(x0 + x * side, y0 + y * side) for x, y in EYES], np.float32)
    return Face((x0, y0, x0 + side, y0 + side), score, landmarks)


def canvas(*places: tuple[int, int, float]) -> np.ndarray:
    """A grey picture with the astronaut's face at (left, top, scale)."""
    rgb = np.full((400, 640, 3), 90, np.uint8)
    head = data.astronaut()[20:190, 150:300]
    for left, top, scale in places:
        small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rgb[top : top + small.shape[0], left : left + small.shape[1]] = small
    return rgb


def test_the_weights_are_the_ones_that_are_pinned_and_have_their_licence() -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == YUNET_SHA256
    assert "MIT License" in WEIGHTS.with_name("LICENSE.yunet").read_text()


def test_weights_and_licence_are_installed_with_the_code() -> None:
    project = tomllib.loads((WEIGHTS.parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    for name in (WEIGHTS.name, "LICENSE.yunet"):
        assert any(fnmatch(name, pattern) for pattern in patterns)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="0123"):
        FaceDetector(DetectorSpec(sha256="0123"))
    other = tmp_path / "weights.onnx"
    other.write_bytes(WEIGHTS.read_bytes()[:-1] + b"x")
    monkeypatch.setattr("media.faces.detector.WEIGHTS", other)
    with pytest.raises(MismatchError):
        FaceDetector(DetectorSpec())


def test_a_face_is_found_where_it_is_at_any_size_of_the_picture(detector: FaceDetector) -> None:
    (found,) = detector.detect(data.astronaut())
    x0, y0, x1, y1 = found.box
    assert 160 < x0 < 190 < 250 < x1 < 290
    assert 50 < y0 < 100 < 150 < y1 < 200
    assert found.landmarks.shape == (5, 2)
    assert found.landmarks[0, 0] < found.landmarks[1, 0]
    large = cv2.resize(data.astronaut(), None, fx=4, fy=4)
    (same,) = detector.detect(large)
    assert overlap(face(x0, y0, x1 - x0), Face((x0, y0, x1, y1), 1.0, found.landmarks)) > 0.5
    assert np.array(same.box) / 4 == pytest.approx(found.box, abs=6)


def test_pictures_without_a_face(detector: FaceDetector) -> None:
    assert detector.detect(np.full((100, 80, 3), 127, np.uint8)) == []
    assert detector.detect(np.zeros((1, 1, 3), np.uint8)) == []
    found = faces_of_picture(np.full((100, 80, 3), 127, np.uint8), FaceSpec(), detector)
    assert (found.crops, found.frames, found.tracks, found.facts) == ((), 1, 0, None)


def test_the_largest_face_of_a_picture_is_the_main_one(detector: FaceDetector) -> None:
    rgb = canvas((20, 40, 0.7), (300, 40, 1.6))
    (main,) = faces_of_picture(rgb, FaceSpec(), detector).crops
    assert main.box[0] > 300
    found = faces_of_picture(rgb, FaceSpec(select="all"), detector)
    assert [crop.track for crop in found.crops] == [0, 1]
    assert found.tracks == 2
    assert faces_of_picture(rgb, FaceSpec(select="all", min_side=90), detector).tracks == 1
    assert len(detector.detect(canvas(*((20 * n, 40, 0.5) for n in range(20))))) <= MAX_FACES


def test_a_face_is_followed_through_a_clip(tmp_path: Path, detector: FaceDetector) -> None:
    path = write_clip(tmp_path / "face.mp4", [portrait(number) for number in range(30)])
    found = faces_of_video(path, spec(), detector)
    assert (found.frames, found.tracks, len(found.crops)) == (9, 1, 9)
    assert [crop.frame for crop in found.crops] == [0, 3, 7, 10, 14, 18, 21, 25, 29]
    assert [crop.time_ms for crop in found.crops] == [crop.frame * 40 for crop in found.crops]
    assert found.facts is not None
    assert found.facts.codec == "h264"
    for crop in found.crops:
        assert crop.rgb.shape == (crop.cut.crop[2] - crop.cut.crop[0],) * 2 + (3,)
        assert crop.sample.rgb is crop.rgb
        (searched,) = detector.detect(portrait(crop.frame))
        assert overlap(Face(crop.box, 1, searched.landmarks), searched) > 0.75


def test_a_part_of_the_frames_is_searched_and_the_rest_interpolated(tmp_path: Path, detector: FaceDetector) -> None:
    path = write_clip(tmp_path / "face.mp4", [portrait(number) for number in range(30)])
    calls: list[str] = []

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        calls.append(stage)
        return work()

    found = faces_of_video(path, spec(EvenFrames(count=30)), detector, timed=timed)
    assert len(found.crops) == 30
    assert calls.count("detect") == 9  # the first, every fourth, and the last
    assert calls.count("decode") == 31


def test_no_more_than_a_second_lies_between_searched_frames(tmp_path: Path, detector: FaceDetector) -> None:
    times = [number * 600 for number in range(8)]
    path = write_clip(tmp_path / "slow.mkv", [portrait(number) for number in range(8)], times=times)
    searched = 0

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        nonlocal searched
        searched += stage == "detect"
        return work()

    assert len(faces_of_video(path, spec(), detector, timed=timed).crops) == 8
    assert searched == 8


def test_tracks_end_where_a_scene_does(tmp_path: Path, detector: FaceDetector) -> None:
    scene = cv2.flip(portrait(0), 1)
    other = np.stack([255 - scene[:, :, 0] // 4, scene[:, :, 1] // 2, scene[:, :, 2]], -1)
    assert is_cut(colours(portrait(0)), colours(other))
    assert not is_cut(colours(portrait(0)), colours(portrait(11)))
    frames = [portrait(number) for number in range(12)] + [np.full_like(scene, 10)] * 6
    frames += [portrait(number) for number in range(6)]
    found = faces_of_video(
        write_clip(tmp_path / "cuts.mp4", frames), spec(EvenFrames(count=24), select="all"), detector
    )
    assert [sum(crop.track == track for crop in found.crops) for track in range(found.tracks)] == [12, 6]
    assert {crop.frame for crop in found.crops} == {*range(12), *range(18, 24)}
    main = faces_of_video(tmp_path / "cuts.mp4", spec(EvenFrames(count=24)), detector)
    assert [crop.frame for crop in main.crops] == list(range(12))


def test_runs_are_told_apart(tmp_path: Path, detector: FaceDetector) -> None:
    path = write_clip(tmp_path / "face.mp4", [portrait(number, shift=1) for number in range(40)])
    found = faces_of_video(path, spec(ClipFrames(clips=2, length=5)), detector)
    assert [(crop.run, crop.frame) for crop in found.crops] == [(n // 5, n % 5 + n // 5 * 35) for n in range(10)]


def test_a_face_that_moves_between_runs_stays_the_same_face(tmp_path: Path, detector: FaceDetector) -> None:
    places = ((20, 20), (440, 180), (20, 200), (460, 10))
    frames = [canvas((left + number % 16, top, 1.0)) for left, top in places for number in range(16)]
    path = write_clip(tmp_path / "moves.mp4", frames)
    assert not is_cut(colours(frames[0]), colours(frames[63]))
    for select in ("main", "all"):
        found = faces_of_video(path, spec(ClipFrames(clips=4, length=8), select=select), detector)
        assert [(crop.track, crop.run) for crop in found.crops] == [(0, run) for run in range(4) for _ in range(8)]
        assert found.tracks == 1


def test_a_face_that_moves_between_frames_that_lie_far_apart_stays_the_same_face(
    tmp_path: Path, detector: FaceDetector
) -> None:
    frames = [canvas((left, 100, 1.0)) for left in (20, 450, 30, 460)]
    path = write_clip(tmp_path / "slow.mkv", frames, times=[0, 3000, 6000, 9000])
    found = faces_of_video(path, spec(EvenFrames(count=4)), detector)
    assert [(crop.track, crop.frame) for crop in found.crops] == [(0, number) for number in range(4)]


def test_the_face_seen_longest_stays_the_main_one_where_another_is_larger_for_a_run(
    tmp_path: Path, detector: FaceDetector
) -> None:
    runs = [[(20, 40, 0.9)], [(20, 40, 0.9), (300, 20, 1.6)], [(300, 20, 0.9)], [(20, 40, 0.9)]]
    frames = [canvas(*faces) for faces in runs for _ in range(8)]
    path = write_clip(tmp_path / "two.mp4", frames)
    found = faces_of_video(path, spec(ClipFrames(clips=4, length=8)), detector)
    assert [crop.box[0] > 250 for crop in found.crops] == [False] * 16 + [True] * 8 + [False] * 8
    assert [crop.run for crop in found.crops] == [run for run in range(4) for _ in range(8)]


def test_runs_of_people_who_look_different_are_tracks_of_their_own(
    tmp_path: Path, real_media: Path, detector: FaceDetector
) -> None:
    people = [real_media / "talking_heads" / name for name in ("d10.mp4", "d12.mp4")]
    cuts = []
    for path in people:
        found = faces_of_video(path, spec(EvenFrames(count=1), margin=2.0), detector)
        cuts.append(cv2.resize(found.crops[0].rgb, (192, 192), interpolation=cv2.INTER_AREA))
    frames = [cuts[person] for person in (0, 1, 0, 1) for _ in range(8)]
    path = write_clip(tmp_path / "people.mp4", frames)
    for select in ("main", "all"):
        found = faces_of_video(path, spec(ClipFrames(clips=4, length=8), select=select), detector)
        assert [(crop.track, crop.run) for crop in found.crops] == [
            (t, run) for t in (0, 1) for run in (t, t + 2) for _ in range(8)
        ]


def test_a_clip_without_a_face_has_no_crops(tmp_path: Path, detector: FaceDetector) -> None:
    path = write_clip(tmp_path / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 5)
    found = faces_of_video(path, spec(), detector)
    assert (found.crops, found.frames, found.tracks) == ((), 5, 0)


def test_the_boxes_of_the_original_serve_its_manipulation(tmp_path: Path, detector: FaceDetector) -> None:
    frames = [portrait(number) for number in range(20)]
    original = write_clip(tmp_path / "original.mp4", frames)
    hidden = write_clip(tmp_path / "hidden.mp4", [cv2.GaussianBlur(rgb, (0, 0), 12) for rgb in frames])
    assert faces_of_video(hidden, spec(), detector).crops == ()
    served = faces_of_video(hidden, spec(), detector, original=original)
    own = faces_of_video(original, spec(), detector)
    assert [crop.box for crop in served.crops] == [crop.box for crop in own.crops]
    assert not np.array_equal(served.crops[0].rgb, own.crops[0].rgb)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(original.read_bytes()[:3000])
    assert len(faces_of_video(original, spec(), detector, original=broken).crops) == 9


def test_what_is_no_specification_of_faces_in_video(detector: FaceDetector) -> None:
    with pytest.raises(SettingsError, match="policy"):
        faces_of_video(b"", ExtractionSpec(), detector)
    with pytest.raises(BadInputError):
        faces_of_video(b"", spec(), detector)


def test_tracks_survive_a_face_that_is_missed_but_not_forever() -> None:
    tracker = Tracker()
    (first,) = tracker.follow([face(10, 10, 50)])
    assert tracker.follow([]) == []
    assert tracker.follow([]) == []
    (again,) = tracker.follow([face(14, 10, 50)])
    assert again.track == first.track
    for _ in range(3):
        tracker.follow([])
    (new,) = tracker.follow([face(14, 10, 50)])
    assert new.track != first.track


def test_two_faces_keep_their_tracks_when_they_change_places_in_the_list() -> None:
    tracker = Tracker()
    left, right = tracker.follow([face(0, 0, 40), face(100, 0, 40)])
    swapped = tracker.follow([face(97, 2, 40), face(3, 1, 40)])
    assert [one.track for one in swapped] == [right.track, left.track]


def test_jitter_is_smoothed_and_movement_is_not() -> None:
    still = [(0.0, face(10, 10, 50)), (40.0, face(14, 10, 50)), (80.0, face(10, 10, 50))]
    assert 10 < smoothed(still, 40.0).box[0] < 12
    moving = [(0.0, face(0, 10, 50)), (500.0, face(40, 10, 50)), (1000.0, face(0, 10, 50))]
    assert smoothed(moving, 500.0).box[0] == pytest.approx(40, abs=0.1)
    half = between((0.0, face(0, 0, 10, 0.9)), (100.0, face(10, 0, 30, 0.7)), 50.0)
    assert (half.box, half.score) == ((5, 0, 25, 20), 0.7)


def test_faces_of_real_clips_are_followed_throughout(real_media: Path, detector: FaceDetector) -> None:
    for path in sorted(real_media.glob("talking_heads/*.mp4"))[-3:]:
        found = faces_of_video(path, spec(EvenFrames(count=8)), detector)
        assert len(found.crops) == 8
