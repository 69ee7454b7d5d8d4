import cv2
import numpy as np

from media.heat import SHARE, lay_heat


def test_heat_shows_where_it_is_and_nothing_elsewhere() -> None:
    rgb = np.full((40, 60, 3), 90, np.uint8)
    heat = np.zeros((40, 60), np.float32)
    heat[:, 30:] = 1
    shown = lay_heat(rgb, heat)
    np.testing.assert_array_equal(shown[:, :30], rgb[:, :30])
    hottest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_INFERNO)[0, 0, ::-1]
    np.testing.assert_allclose(shown[0, 50], np.rint(90 * (1 - SHARE) + hottest * SHARE))
