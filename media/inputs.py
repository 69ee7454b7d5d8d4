"""From a picture to the planes that a network reads; the same functions train, judge and serve."""

import cv2
import numpy as np
from numpy.typing import NDArray

from media.ela import error_level
from media.spec import InputSpec

_FILTERS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


def network_planes(rgb: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Stack what ``spec`` asks for.

    Values stay 0..255: scaling and normalisation with ``spec.mean`` and ``spec.std`` happen on the device, inside the
    exported graph, and cost a quarter of the transfer there.

    Args:
        rgb: uint8 [H, W, 3], RGB; a whole picture or a training crop.
        spec: the input specification.

    Returns:
        uint8 [H, W, C] with C = ``spec.channels``: red, green, blue, then their error levels where asked for. Without
        error levels it is ``rgb`` itself, not a copy.

    Raises:
        BadInputError: ``too-large`` when error levels are asked of a picture larger than a JPEG can be.
    """
    if spec.ela is None:
        return rgb
    return np.concatenate([rgb, error_level(rgb, spec.ela)], axis=2)


def whole_view(rgb: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Scale a face crop to a network's input and stack what ``spec`` asks for: the view ``whole``.

    Error levels are those of the scaled crop, the very pixels that the network sees beside them.

    Args:
        rgb: uint8 [H, W, 3], RGB.
        spec: its ``size`` and ``resize_filter``; a crop of that size stays as it is.

    Returns:
        uint8 [C, S, S], contiguous, with C = ``spec.channels`` and S = ``spec.size``; values 0..255.
    """
    if rgb.shape[:2] != (spec.size, spec.size):
        scaled = cv2.resize(rgb, (spec.size, spec.size), interpolation=_FILTERS[spec.resize_filter])
        rgb = np.asarray(scaled, dtype=np.uint8)
    return np.stack(cv2.split(network_planes(rgb, spec)))  # six times faster than a transposed copy


def whole_mask(mask: NDArray[np.bool_], spec: InputSpec) -> NDArray[np.bool_]:
    """Scale a mask as ``whole_view`` scales its picture, by the nearest pixel; bool [H, W] to bool [S, S]."""
    if mask.shape == (spec.size, spec.size):
        return mask
    # NEAREST_EXACT takes the pixel nearest to the centre, as linear interpolation does; NEAREST is off by half a pixel.
    scaled = cv2.resize(mask.view(np.uint8), (spec.size, spec.size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled).astype(np.bool_)
