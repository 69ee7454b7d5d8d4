"""Class labels: integers from 0, whose names an index's specification gives."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AUTHENTIC = 0  # the label of what is authentic or normal, in every task


def is_manipulated(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which labels, int [N], are of something manipulated or anomalous, of whatever kind."""
    return np.asarray(labels != AUTHENTIC)
