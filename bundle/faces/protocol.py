"""The tensors with which a bundle that classifies faces answers the Open Inference Protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.faces.verdict import FaceVerdict
from media.tensors import TensorSpec

OUTPUTS = {  # a row for each face; none where there is no face
    "probability": TensorSpec(datatype="FP32", shape=(-1,)),
    "manipulated": TensorSpec(datatype="BOOL", shape=(-1,)),
    "box": TensorSpec(datatype="FP32", shape=(-1, 4)),
    "abstained": TensorSpec(datatype="BOOL", shape=(-1, -1)),  # a column for each member, in the bundle's order
}


def verdict_arrays(
    verdict: FaceVerdict, boxes: Mapping[int, Sequence[float]], members: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``OUTPUTS`` for a picture.

    Args:
        verdict: of the picture.
        boxes: of the faces by number of their track: x0, y0, x1, y1 in px.
        members: of the bundle, by name and in its order.
    """
    abstained = [[name in track.abstained for name in members] for track in verdict.tracks]
    probability = np.array([track.probability for track in verdict.tracks], dtype=np.float64)
    return {
        "probability": probability.astype(np.float32),
        "manipulated": probability >= verdict.threshold,
        "box": np.array([boxes[track.track] for track in verdict.tracks], dtype=np.float32).reshape(-1, 4),
        "abstained": np.array(abstained, dtype=np.bool_).reshape(-1, len(members)),
    }
