"""The tensors with which a bundle that marks regions answers the Open Inference Protocol."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.regions.analysis import BundleVerdict
from media.tensors import TensorSpec

OUTPUTS = {
    "score": TensorSpec(datatype="FP32", shape=(1,)),
    "forged": TensorSpec(datatype="BOOL", shape=(1,)),
    "probability": TensorSpec(datatype="FP32", shape=(-1, -1)),
}


def verdict_arrays(judged: BundleVerdict) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``OUTPUTS`` for a picture."""
    return {
        "score": np.array([judged.verdict.score], dtype=np.float32),
        "forged": np.array([judged.verdict.forged], dtype=np.bool_),
        "probability": judged.probability,
    }
