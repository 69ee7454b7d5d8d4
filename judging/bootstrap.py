"""Percentile bootstrap by group: whole groups are drawn with replacement, because their samples are not independent.

Drawing a group several times weighs its samples by that number, so every figure is written once, for a matrix of
weights [resamples, groups]. What a figure needs of the samples is first added up by group: resamples are then products
of that matrix with sums, and no sample is looked at again.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile intervals).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.settings import Settings

Weights = NDArray[np.float64]
Figures = Callable[[Weights], Mapping[str, NDArray[np.float64]]]

CHUNK_VALUES = 4_000_000  # weights held at once: 32 MB
CHUNK_RESAMPLES = 64  # at most at once, so that figures of few groups and many samples stay small too


class Bootstrap(Settings):
    """How intervals are drawn."""

    resamples: int = Field(default=1000, ge=0, le=100_000)
    """How often groups are drawn; 0 gives no intervals."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Share of the resamples that an interval holds, 0..1."""
    seed: int = Field(default=0, ge=0)
    """Of the draw."""


@dataclass(frozen=True)
class Groups:
    """Which group each of N samples belongs to.

    Attributes:
        codes: int64 [N], the position of each sample's group among the sorted names of all.
        count: how many groups there are, G.
    """

    codes: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, names: NDArray[Any]) -> "Groups":
        """Number the groups by their names, strings or numbers [N]."""
        found, codes = np.unique(names, return_inverse=True)
        return cls(codes.astype(np.int64), len(found))

    @property
    def once(self) -> Weights:
        """The weights of the samples as they are: each group once, [1, G]."""
        return np.ones((1, self.count))

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Add up values [N] by group, float64 [G]."""
        return np.asarray(np.bincount(self.codes, weights=values, minlength=self.count), dtype=np.float64)


def group_weights(count: int, settings: Bootstrap) -> Iterator[Weights]:
    """Yield the weights of the groups in each resample, [some resamples, groups], a few resamples at a time.

    Args:
        count: of groups.
        settings: number of resamples and seed; the same seed and number of groups give the same weights, which is
            what pairs two models' figures.
    """
    chunk = max(1, min(CHUNK_RESAMPLES, CHUNK_VALUES // max(1, count)))
    for start in range(0, settings.resamples, chunk):
        rows = range(start, min(start + chunk, settings.resamples))
        yield np.array([_draw(count, settings.seed, row) for row in rows], dtype=np.float64)


def _draw(count: int, seed: int, resample: int) -> NDArray[np.int64]:
    drawn = np.random.default_rng((seed, resample)).integers(0, count, size=count)
    return np.bincount(drawn, minlength=count)


def intervals(figures: Figures, groups: Groups, settings: Bootstrap) -> dict[str, tuple[float, float]]:
    """Return the interval of each figure.

    A resample in which a figure is not defined (no authentic sample was drawn, say) is left out of its interval. A
    figure undefined in more than half of them, and every figure where there is only one group, has no interval.

    Args:
        figures: of weights [R, G] gives values [R] by name, NaN where undefined.
        groups: of the samples.
        settings: resamples, confidence and seed.
    """
    if settings.resamples == 0 or groups.count < 2:
        return {}
    parts = [figures(weights) for weights in group_weights(groups.count, settings)]
    tail = 50 * (1 - settings.confidence)
    found = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        values = values[~np.isnan(values)]
        if 2 * len(values) >= settings.resamples:
            low, high = np.percentile(values, [tail, 100 - tail])
            found[name] = (float(low), float(high))
    return found
