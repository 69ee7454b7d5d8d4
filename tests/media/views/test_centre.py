"""The window in the middle of a face."""

import cv2
import numpy as np
import pytest

from media.view import StoredSample, Subject
from media.views.centre import CentreView


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_centre_is_seen_at_its_own_resolution() -> None:
    rgb, view = noise(64, 80), CentreView(size=32)
    sample = StoredSample(rgb, rgb[..., 0] > 127)
    assert np.array_equal(view.cut(sample), rgb[16:48, 24:56].transpose(2, 0, 1))
    assert np.array_equal(view.fit(view.crop(sample).mask), rgb[16:48, 24:56, 0] > 127)


def test_a_smaller_crop_is_extended_by_reflection() -> None:
    rgb = noise(30, 32)
    seen = CentreView(size=32).cut(StoredSample(rgb))
    assert np.array_equal(seen[:, :30], rgb.transpose(2, 0, 1))
    assert np.array_equal(seen[:, 30:], rgb[[28, 27]].transpose(2, 0, 1))


@pytest.mark.parametrize(("side", "how"), [(100, cv2.INTER_AREA), (40, cv2.INTER_CUBIC)])
def test_a_stored_face_is_brought_to_one_scale(side: int, how: int) -> None:
    rgb, start = noise(200, 200), 50
    face = Subject((start, start, start + side, start + side))
    seen = CentreView(size=48, margin=1.0, square_size=64).cut(StoredSample(rgb, subject=face))
    square = cv2.resize(rgb[start : start + side, start : start + side], (64, 64), interpolation=how)
    assert np.array_equal(seen, square[8:56, 8:56].transpose(2, 0, 1))


def test_what_a_window_does_not_show_has_no_heat() -> None:
    laid = CentreView(size=60).lay(np.ones((8, 8), np.float32), StoredSample(noise(100, 100)))
    assert laid.sum() == 60 * 60
    assert laid[20:80, 20:80].all()
