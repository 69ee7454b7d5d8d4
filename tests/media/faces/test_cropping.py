"""Faces as they are stored: at the frame's resolution, as wide as asked, with their place inside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.extraction import FaceSpec
from media.faces.cropping import STEPS, cut_face
from media.faces.detector import Face

EYES = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))


def face(x0: float, y0: float, side: float) -> Face:
    landmarks = np.array([(x0 + x * side, y0 + y * side) for x, y in EYES], np.float32)
    return Face((x0, y0, x0 + side, y0 + side), 0.9, landmarks)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(
    st.tuples(st.floats(-50, 150), st.floats(-50, 150)),
    st.floats(2, 200),
    st.integers(16, 600),
    st.floats(1, 4),
)
def test_a_crop_holds_its_face_wherever_the_box_lies(
    corner: tuple[float, float], side: float, max_side: int, margin: float
) -> None:
    found = face(*corner, side)
    cut = cut_face(noise(100, 120), found, FaceSpec(max_side=max_side, margin=margin))
    height, width = cut.rgb.shape[:2]
    assert (height, cut.rgb.dtype) == (width, np.uint8)
    assert height <= min(max_side, 2 * 120)
    x0, y0, x1, y1 = cut.crop
    assert (cut.grid is None) == (x1 - x0 > max_side)
    if cut.grid is not None:
        assert (x1 - x0, y1 - y0) == (width, height)
        assert cut.grid == (x0 % 16, y0 % 16)
    scale = width / (x1 - x0)
    placed = (np.array(found.box) - (x0, y0, x0, y0)) * scale
    assert np.array(cut.box) == pytest.approx(placed, abs=0.01)
    assert cut.landmarks == pytest.approx((found.landmarks - (x0, y0)) * scale, abs=0.01)
    assert (cut.landmarks.shape, cut.landmarks.dtype) == ((5, 2), np.float32)


def test_the_margin_is_that_of_the_longer_side_and_pixels_are_the_frames() -> None:
    rgb = noise(300, 300)
    box = Face((120, 100, 180, 200), 0.9, face(100, 100, 100).landmarks)
    cut = cut_face(rgb, box, FaceSpec(margin=1.3))
    assert np.array_equal(cut.rgb, rgb[85:215, 85:215])
    assert cut.crop == (85, 85, 215, 215)
    assert cut.box == (35, 15, 95, 115)
    assert cut.grid == (5, 5)


def test_what_lies_outside_the_frame_repeats_its_edge() -> None:
    rgb = noise(80, 80)
    cut = cut_face(rgb, face(-20, 10, 40), FaceSpec(margin=1.0))
    assert np.array_equal(cut.rgb, np.pad(rgb[10:50, :20], ((0, 0), (20, 0), (0, 0)), mode="edge"))
    assert cut.grid == (12, 10)  # of the edge that was repeated, too


def test_a_large_face_is_scaled_down_to_the_bound() -> None:
    cut = cut_face(noise(400, 400), face(100, 100, 200), FaceSpec(margin=1.5, max_side=150))
    assert cut.rgb.shape == (150, 150, 3)
    assert cut.crop == (50, 50, 350, 350)
    assert cut.box == (25, 25, 125, 125)
    assert cut.grid is None


def test_coordinates_survive_float32_and_another_origin() -> None:
    cut = cut_face(noise(400, 400), face(100.123456, 90.987654, 77.7), FaceSpec(margin=2.0))
    steps = np.array(cut.box) * STEPS
    assert np.array_equal(steps, np.rint(steps))
    assert np.array_equal(np.array(cut.box, np.float32).astype(float), np.array(cut.box))
