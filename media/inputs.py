"""From a picture to the planes that a network reads; the same function trains, judges and serves."""

import numpy as np
from numpy.typing import NDArray

from media.ela import error_level
from media.spec import InputSpec


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
