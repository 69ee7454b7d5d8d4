import cv2
import numpy as np
import pytest

from judging.overlays import (
    FOUND,
    TRUTH,
    encode_jpeg,
    heat_overlay,
    shrink,
    side_by_side,
    truth_overlay,
)

GREY = np.full((120, 200, 3), 128, np.uint8)


def _square(side: int) -> np.ndarray:
    mask = np.zeros((120, 200), bool)
    mask[40 : 40 + side, 60 : 60 + side] = True
    return mask


def _has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour)).all(axis=2).any())


def test_what_is_marked_and_the_truth_are_outlined():
    drawn = heat_overlay(GREY, _square(40).astype(np.float32), _square(40), np.roll(_square(40), 60, axis=1))
    assert _has(drawn, FOUND)
    assert _has(drawn, TRUTH)
    assert not _has(truth_overlay(GREY, _square(40)), FOUND)


def test_a_picture_of_which_nothing_is_marked_has_no_outline_but_its_heat():
    drawn = heat_overlay(GREY, _square(10).astype(np.float32), _square(0))
    assert not _has(drawn, FOUND)
    assert (drawn[45, 65] != 128).any()
    np.testing.assert_array_equal(drawn[0, 0], GREY[0, 0])


@pytest.mark.parametrize("shape", [(3000, 40), (17, 2000), (500, 500), (10, 12)])
def test_the_size_is_bounded_and_small_pictures_are_not_enlarged(shape):
    drawn = heat_overlay(
        np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32), np.zeros(shape, bool), max_side=160
    )
    assert max(drawn.shape) <= 160
    if max(shape) <= 160:
        assert drawn.shape[:2] == shape


def test_a_region_of_one_pixel_does_not_vanish_in_a_thumbnail():
    mask = np.zeros((2000, 2000), bool)
    mask[777, 1234] = True
    assert _has(truth_overlay(np.zeros((2000, 2000, 3), np.uint8), mask, max_side=100), TRUTH)


def test_the_picture_itself_is_not_drawn_on():
    rgb = GREY.copy()
    heat_overlay(rgb, np.ones((120, 200), np.float32), _square(30), _square(20))
    truth_overlay(rgb, _square(20))
    np.testing.assert_array_equal(rgb, GREY)


def test_side_by_side_and_encoding_keep_size_and_colour():
    red = np.zeros((50, 30, 3), np.uint8)
    red[..., 0] = 255
    row = side_by_side([red, red, red])
    assert row.shape == (50, 98, 3)
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(red), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert decoded.shape == red.shape
    assert decoded[25, 15, 0] > 240
    assert decoded[25, 15, 2] < 20


def test_shrinking_averages():
    assert shrink(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), 1)[0, 0] == pytest.approx(0.5)
