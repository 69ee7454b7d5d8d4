"""The view of photographs scaled to one square."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import tiles
from media.ela import ElaSpec, error_level
from media.extraction import ExtractionSpec, FaceSpec
from media.tiles import WholePlan
from media.view import StoredSample
from media.views.whole import WholeView

SIZE = 64


def slope(height: int, width: int) -> np.ndarray:
    """Return uint8 [height, width, 3] that rises from left to right and from top to bottom."""
    rise = np.linspace(0, 127, width)[None] + np.linspace(0, 127, height)[:, None]
    return np.repeat(rise.astype(np.uint8)[..., None], 3, axis=2)


@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_a_map_of_the_square_comes_back_over_the_picture(height: int, width: int) -> None:
    picture = slope(height, width)
    (square,), plan = WholeView(size=SIZE).tiles(picture)
    assert (square.shape, plan) == ((3, SIZE, SIZE), WholePlan(height, width, SIZE))
    back = tiles.blend(square[:1].astype(np.float32), plan)
    assert (back.shape, back.dtype) == ((height, width), np.float32)
    # Half a square of the coarser grid on either axis, and rounding.
    steps = sum(127 / min(side - 1, SIZE) for side in (height, width) if side > 1)
    assert np.abs(back - picture[..., 0]).max() <= steps + 2


def test_training_and_judging_scale_alike() -> None:
    view, picture = WholeView(size=SIZE, ela=ElaSpec()), slope(150, 100)
    cropped = view.crop(StoredSample(picture, picture[..., 0] > 99))
    (square,), _ = view.tiles(picture)
    np.testing.assert_array_equal(view.render(cropped.rgb), square)
    np.testing.assert_array_equal(square[3:], error_level(cropped.rgb, ElaSpec()).transpose(2, 0, 1))
    assert cropped.mask is not None
    assert cropped.mask.mean() == pytest.approx((picture[..., 0] > 99).mean(), abs=0.02)


def test_it_is_of_whole_pictures() -> None:
    assert "whole pictures" in WholeView().require(ExtractionSpec(faces=FaceSpec()))
    assert WholeView().require(ExtractionSpec()) == ""
