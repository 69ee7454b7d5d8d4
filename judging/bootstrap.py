"""Percentile bootstrap by group: whole groups are drawn with replacement, because their samples are not independent.

Drawing a group several times weighs its samples by that number, so every figure is written once, for a matrix of
weights [resamples, samples], and a thousand resamples are a few matrix products.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile intervals).
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.settings import Settings

Weights = NDArray[np.float64]
Figures = Callable[[Weights], Mapping[str, NDArray[np.float64]]]

CHUNK_VALUES = 4_000_000  # weights held at once: 32 MB


class Bootstrap(Settings):
    """How intervals are drawn."""

    resamples: int = Field(default=1000, ge=0, le=100_000)
    """How often groups are drawn; 0 gives no intervals."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Share of the resamples that an interval holds, 0..1."""
    seed: int = Field(default=0, ge=0)
    """Of the draw."""


def group_weights(groups: NDArray[np.str_], settings: Bootstrap) -> Iterator[Weights]:
    """Yield the weights of the samples in each resample, [some resamples, samples], a few resamples at a time.

    Args:
        groups: the group of each sample [N].
        settings: number of resamples and seed; the same seed and groups give the same weights, which is what pairs
            two models' figures.
    """
    names, members = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng(settings.seed)
    chunk = max(1, CHUNK_VALUES // max(1, len(groups)))
    for start in range(0, settings.resamples, chunk):
        count = min(chunk, settings.resamples - start)
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        yield drawn[:, members].astype(np.float64)


def intervals(figures: Figures, groups: NDArray[np.str_], settings: Bootstrap) -> dict[str, tuple[float, float]]:
    """Return the interval of each figure.

    A resample in which a figure is not defined (no authentic sample was drawn, say) is left out of its interval. A
    figure undefined in more than half of them, and every figure where there is only one group, has no interval.

    Args:
        figures: of weights [R, N] gives values [R] by name, NaN where undefined.
        groups: the group of each sample [N].
        settings: resamples, confidence and seed.
    """
    if settings.resamples == 0 or len(np.unique(groups)) < 2:
        return {}
    parts = [figures(weights) for weights in group_weights(groups, settings)]
    tail = 50 * (1 - settings.confidence)
    found = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        values = values[~np.isnan(values)]
        if 2 * len(values) >= settings.resamples:
            low, high = np.percentile(values, [tail, 100 - tail])
            found[name] = (float(low), float(high))
    return found
