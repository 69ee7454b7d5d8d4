import cv2
import numpy as np
import pytest

from media.heat import SHARE, heat_of_crop, lay_heat
from media.inputs import face_view
from media.spec import InputSpec


def spot(height: int, width: int, row: int, column: int) -> np.ndarray:
    """A bright square of 12 px on black, uint8 [H, W, 3]."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[row : row + 12, column : column + 12] = 255
    return rgb


@pytest.mark.parametrize("view", ["whole", "centre"])
@pytest.mark.parametrize("side", [48, 64, 97, 128])
def test_heat_lies_where_the_network_saw_it(view: str, side: int) -> None:
    spec = InputSpec(view=view, size=64)
    rgb = spot(side, side, side // 2 - 9, side // 2 - 2)
    heat = face_view(rgb, spec)[0].astype(np.float32) / 255
    laid = heat_of_crop(heat, (side, side), spec)
    assert (laid.shape, laid.dtype) == ((side, side), np.float32)
    assert np.abs(laid - rgb[..., 0] / 255).mean() < 0.02
    assert laid[side // 2 - 3, side // 2 + 4] > 0.9


def test_what_a_window_does_not_show_has_no_heat() -> None:
    laid = heat_of_crop(np.ones((8, 8), np.float32), (100, 100), InputSpec(view="centre", size=60))
    assert laid.sum() == 60 * 60
    assert laid[20:80, 20:80].all()


def test_heat_shows_where_it_is_and_nothing_elsewhere() -> None:
    rgb = np.full((40, 60, 3), 90, np.uint8)
    heat = np.zeros((40, 60), np.float32)
    heat[:, 30:] = 1
    shown = lay_heat(rgb, heat)
    np.testing.assert_array_equal(shown[:, :30], rgb[:, :30])
    hottest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_INFERNO)[0, 0, ::-1]
    np.testing.assert_allclose(shown[0, 50], np.rint(90 * (1 - SHARE) + hottest * SHARE))
