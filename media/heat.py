"""Maps of heat as people look at them: laid over the picture that they are of."""

import cv2
import numpy as np
from numpy.typing import NDArray

from media.spec import InputSpec

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


def heat_of_crop(heat: NDArray[np.float32], shape: tuple[int, int], spec: InputSpec) -> NDArray[np.float32]:
    """Bring a network's map back to the face crop that its input was made of (``media.inputs.face_view``).

    Args:
        heat: float32 [h, w], 0..1, of the network's input.
        shape: height and width of the crop, px.
        spec: how the input was made of it. What a window in the middle does not show has no heat.

    Returns:
        float32 [H, W], 0..1.
    """
    height, width = shape
    if spec.view != "centre":
        return _scaled(heat, height, width)
    window = _scaled(heat, spec.size, spec.size)
    laid = np.zeros(shape, dtype=np.float32)
    # A crop that is smaller than the window was extended at the bottom and right.
    top, left = ((max(side, spec.size) - spec.size) // 2 for side in shape)
    laid[top : top + spec.size, left : left + spec.size] = window[:height, :width]
    return laid


def _scaled(heat: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    scaled = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.asarray(scaled, dtype=np.float32), 0, 1)
