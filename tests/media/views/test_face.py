"""The view of a whole face: of a crop that others cut, and of a stored one by its box."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.ela import ElaSpec
from media.extraction import EvenFrames, ExtractionSpec, FaceSpec
from media.faces.cropping import cut_face
from media.faces.detector import Face
from media.view import StoredSample, Subject
from media.views.centre import CentreView
from media.views.face import FaceView

VIEWS = {"face": FaceView, "centre": CentreView}
LANDMARKS = ((0.3, 0.4), (0.7, 0.5), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))  # the head is tilted


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stored(rgb: np.ndarray, box: tuple[float, float, float], margin: float, max_side: int = 4096) -> StoredSample:
    x, y, side = box
    landmarks = np.array([(x + right * side, y + down * side) for right, down in LANDMARKS], np.float32)
    found = Face((x, y, x + side, y + 0.9 * side), 0.9, landmarks)
    cut = cut_face(rgb, found, FaceSpec(margin=margin, max_side=max_side))
    return StoredSample(cut.rgb, cut.rgb[..., 0] > 127, Subject(cut.box, cut.landmarks), cut.grid)


@pytest.mark.parametrize("name", VIEWS)
@given(height=st.integers(16, 90), width=st.integers(16, 90), size=st.integers(32, 70))
def test_every_crop_becomes_the_networks_size(name: str, height: int, width: int, size: int) -> None:
    view = VIEWS[name](size=size)
    sample = StoredSample(noise(height, width), noise(height, width)[..., 0] > 127)
    assert view.cut(sample).shape == (3, size, size)
    mask = view.fit(view.crop(sample).mask)
    assert (mask.shape, mask.dtype) == ((size, size), np.bool_)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("alignment", ["none", "landmarks5"])
@settings(deadline=None)
@given(
    x=st.floats(-30, 130),
    y=st.floats(-30, 100),
    side=st.floats(20, 90),
    margin=st.floats(1, 2),
    wider=st.floats(1, 2),
)
def test_a_view_is_the_same_from_a_wider_crop(
    name: str, alignment: Any, x: float, y: float, side: float, margin: float, wider: float
) -> None:
    view, rgb = VIEWS[name](size=64, margin=margin, alignment=alignment), noise(120, 160)
    narrow, wide = (stored(rgb, (x, y, side), width) for width in (view.reach(), view.reach() * wider))
    seen, other = view.cut(narrow).astype(int), view.cut(wide).astype(int)
    if alignment == "none":
        assert np.array_equal(seen, other)
        assert np.array_equal(view.crop(narrow).mask, view.crop(wide).mask)
    else:  # what is interpolated between pixels is rounded
        assert np.mean(np.abs(seen - other) > 3) < 0.02


def test_the_square_of_a_stored_face_is_that_of_the_frame() -> None:
    rgb = noise(300, 300)
    view = FaceView(size=130, margin=1.3)
    sample = stored(rgb, (100, 105, 100), 2.0)
    assert np.array_equal(view.cut(sample), rgb[85:215, 85:215].transpose(2, 0, 1))
    assert np.array_equal(view.crop(sample).mask, rgb[85:215, 85:215, 0] > 127)


def test_alignment_lays_the_eyes_level() -> None:
    rgb = np.zeros((300, 300, 3), np.uint8)
    right, left = (110, 140), (190, 190)
    for x, y in (right, left):
        cv2.circle(rgb, (x, y), 6, (255, 255, 255), -1)
    points = np.array([right, left, (150, 170), (120, 210), (160, 220)], np.float32)
    sample = StoredSample(rgb, subject=Subject((90, 110, 210, 230), points))
    crop = FaceView(size=156, margin=1.3, alignment="landmarks5").crop(sample).rgb
    rows = [np.flatnonzero(half.max(axis=(1, 2)) > 127).mean() for half in (crop[:, :78], crop[:, 78:])]
    assert rows[0] == pytest.approx(rows[1], abs=1.5)


def test_the_whole_crop_is_scaled_with_the_filter_that_is_named() -> None:
    rgb = noise(64, 64)
    linear, area = (
        FaceView.model_validate({"size": 32, "resize_filter": name}).cut(StoredSample(rgb))
        for name in ("linear", "area")
    )
    means = rgb.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(area - means).max() <= 0.5
    expected = cv2.resize(rgb, (32, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(linear, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("name", VIEWS)
def test_error_levels_are_those_of_what_is_seen(name: str) -> None:
    view = VIEWS[name](size=32, ela=ElaSpec())
    plain = VIEWS[name](size=32).cut(StoredSample(noise(64, 64)))
    levels = view.cut(StoredSample(noise(64, 64)))
    assert levels.shape == view.tensor.shape == (6, 32, 32)
    window = StoredSample(np.ascontiguousarray(plain.transpose(1, 2, 0)))
    assert np.array_equal(levels, view.cut(window))


def spot(side: int, row: int, column: int) -> np.ndarray:
    """A bright square of 12 px on black, uint8 [side, side, 3]."""
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[row : row + 12, column : column + 12] = 255
    return rgb


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("side", [48, 64, 97, 128])
def test_heat_lies_where_the_network_saw_it(name: str, side: int) -> None:
    view = VIEWS[name](size=64)
    sample = StoredSample(spot(side, side // 2 - 9, side // 2 - 2))
    laid = view.lay(view.cut(sample)[0].astype(np.float32) / 255, sample)
    assert (laid.shape, laid.dtype) == ((side, side), np.float32)
    assert np.abs(laid - sample.rgb[..., 0] / 255).mean() < 0.02
    assert laid[side // 2 - 3, side // 2 + 4] > 0.9


@pytest.mark.parametrize(
    "view",
    [
        FaceView(size=64, margin=1.3),
        FaceView(size=64, margin=1.3, alignment="landmarks5"),
        CentreView(size=64, margin=1.3, square_size=80),
    ],
    ids=["face", "turned", "centre"],
)
@given(x=st.integers(30, 90), y=st.integers(30, 90))
def test_heat_of_a_stored_face_lies_where_the_view_was_cut(view: FaceView, x: int, y: int) -> None:
    """Laying back is the inverse of cutting, and what the view does not show has no heat."""
    side = 80
    rgb = spot(200, y + side // 2 - 9, x + side // 2 - 2)
    sample = stored(rgb, (x, y, side), 2.2)
    laid = view.lay(view.cut(sample)[0].astype(np.float32) / 255, sample)
    assert laid.shape == sample.rgb.shape[:2]
    assert np.abs(laid - sample.rgb[..., 0] / 255).mean() < 0.01
    everywhere = view.lay(np.ones((8, 8), np.float32), sample)
    shown = view.square(sample).side * (view.size / view.square_size if isinstance(view, CentreView) else 1)
    assert everywhere.sum() == pytest.approx(shown**2, rel=0.05)
    assert not everywhere[0].any()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize(
    ("faces", "given_crops", "settings", "problem"),
    [
        (None, False, {}, "the data set holds whole pictures"),
        (FaceSpec(margin=1.3), True, {"margin": 1.5}, "margin = 1.5, but the data set's crops were cut with 1.3"),
        (FaceSpec(margin=2.0), True, {"margin": 1.3}, "margin = 1.3, but the data set's crops were cut with 2"),
        (FaceSpec(margin=1.3), True, {"alignment": "landmarks5"}, "which crops that were cut by others lack"),
        (FaceSpec(margin=1.3), False, {"margin": 1.5}, "needs crops of margin 1.5, the data set's have 1.3"),
        (FaceSpec(margin=1.5), False, {"alignment": "landmarks5"}, "needs crops of margin 1.83848"),
        (FaceSpec(margin=1.3), True, {}, ""),
        (FaceSpec(margin=2.0), False, {"alignment": "landmarks5"}, ""),
        (FaceSpec(margin=1.3), False, {}, ""),
    ],
)
def test_samples_that_cannot_show_a_face_are_refused(
    name: str, faces: FaceSpec | None, given_crops: bool, settings: dict[str, Any], problem: str
) -> None:
    frames: dict[str, Any] = {} if given_crops else {"decoder": "pyav", "frames": EvenFrames(), "store": "png"}
    found = VIEWS[name].model_validate(settings).require(ExtractionSpec(faces=faces, **frames))
    assert problem in found
    assert bool(problem) == bool(found)
