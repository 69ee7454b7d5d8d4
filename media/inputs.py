"""From a picture to the planes that a network reads; the same functions train, judge and serve."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from media.ela import error_level
from media.spec import InputSpec
from media.tiles import pad_to

P = TypeVar("P", bound=np.generic)

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


def face_view(rgb: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Bring a face crop to a network's input and stack what ``spec`` asks for: the views ``whole`` and ``centre``.

    Error levels are those of the result, the very pixels that the network sees beside them.

    Args:
        rgb: uint8 [H, W, 3], RGB.
        spec: its ``view``, ``size`` and ``resize_filter``; a crop of that size stays as it is, and one that is smaller
            than a window of the view ``centre`` is extended by reflection.

    Returns:
        uint8 [C, S, S], contiguous, with C = ``spec.channels`` and S = ``spec.size``; values 0..255.
    """
    if spec.view == "centre":
        rgb = _centre(rgb, spec.size)
    elif rgb.shape[:2] != (spec.size, spec.size):
        scaled = cv2.resize(rgb, (spec.size, spec.size), interpolation=_FILTERS[spec.resize_filter])
        rgb = np.asarray(scaled, dtype=np.uint8)
    return np.stack(cv2.split(network_planes(rgb, spec)))  # six times faster than a transposed copy


def face_mask(mask: NDArray[np.bool_], spec: InputSpec) -> NDArray[np.bool_]:
    """Bring a mask to where ``face_view`` brings its picture, by the nearest pixel; bool [H, W] to bool [S, S]."""
    if spec.view == "centre":
        return _centre(mask, spec.size)
    if mask.shape == (spec.size, spec.size):
        return mask
    # NEAREST_EXACT takes the pixel nearest to the centre, as linear interpolation does; NEAREST is off by half a pixel.
    scaled = cv2.resize(mask.view(np.uint8), (spec.size, spec.size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled).astype(np.bool_)


def _centre(planes: NDArray[P], size: int) -> NDArray[P]:
    """Return the window [size, size, ...] in the middle of planes [H, W, ...]."""
    planes = pad_to(planes, size)
    top, left = ((side - size) // 2 for side in planes.shape[:2])
    return planes[top : top + size, left : left + size]
