"""What the probes of all tasks share: see ``tasks.task.Probe``."""

import math

import numpy as np


def threshold_logit(threshold: float) -> float:
    """Return the logit at which the sigmoid reaches ``threshold``, 0..1; infinite at either end."""
    if threshold in (0.0, 1.0):
        return math.copysign(math.inf, threshold - 0.5)
    return math.log(threshold / (1.0 - threshold))


def spread(length: int, count: int) -> list[int]:
    """Return ``count`` numbers spread evenly over 0 .. ``length`` - 1, both ends included."""
    return [int(number) for number in np.linspace(0, length - 1, count).round()]
