"""Maps of heat as people look at them: laid over the picture that they are of."""

import cv2
import numpy as np
from numpy.typing import NDArray

SHARE = 0.65  # of the heat's colour where the heat is 1


def lay_heat(rgb: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay heat over a picture: where there is none the picture is seen as it is.

    Args:
        rgb: uint8 [H, W, 3].
        heat: float32 [H, W], 0..1.

    Returns:
        uint8 [H, W, 3].
    """
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = SHARE * heat[..., np.newaxis]
    return np.ascontiguousarray((rgb * (1 - share) + colours * share).round().astype(np.uint8))
