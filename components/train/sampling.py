"""Which samples an epoch sees: a weighted draw with replacement that is a pure function of (seed, epoch)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from components.train.recipe import SamplingSettings
from core.errors import BadInputError
from data.index import SampleIndex
from data.tracks import Tracks


def _row_weights(train: SampleIndex, hard_negatives: frozenset[str], settings: SamplingSettings) -> NDArray[np.float64]:
    """Return the weight of every row of the train split, float64 [rows]."""
    bounds = np.array([bound for bound, _ in settings.bands])
    band_weights = np.array([weight for _, weight in settings.bands], dtype=np.float64)
    band = np.searchsorted(bounds, train.column("forged_fraction"), side="right").clip(max=len(bounds) - 1)
    hard = np.isin(train.column("sample_id").astype(str), sorted(hard_negatives))
    authentic = np.where(hard, settings.hard_negative, settings.authentic)
    return np.where(train.column("label") == 1, band_weights[band], authentic)


def sample_weights(
    train: SampleIndex, hard_negatives: frozenset[str], settings: SamplingSettings, tracks: Tracks | None = None
) -> NDArray[np.float64]:
    """Return the weight of everything that can be drawn: every row of the train split, or every track.

    Args:
        train: rows of the train split.
        hard_negatives: sample ids of authentic rows.
        settings: the weights.
        tracks: of ``train``, for networks of clips.

    Returns:
        float64 [rows] or [tracks], not normalised.

    Raises:
        BadInputError: ``no-samples`` when there is nothing to draw or every weight is zero; ``empty-class`` when
            balancing needs a class of which nothing can be drawn.
    """
    weights, labels = _row_weights(train, hard_negatives, settings), train.column("label")
    if settings.pseudo_fakes is not None and not settings.pseudo_fakes.real_fakes:
        weights = np.where(labels == 1, 0.0, weights)
    if tracks is not None and len(tracks):
        # The heaviest row counts, or a hard negative would be diluted by its neighbours.
        weights = np.maximum.reduceat(weights[tracks.rows], tracks.starts)
        labels = labels[tracks.rows[tracks.starts]]
    if not weights.sum() > 0:
        raise BadInputError("no-samples", f"nothing to draw from: {len(train)} train samples, all of weight 0")
    return _balanced(weights, labels == 1, settings.authentic_share) if settings.balanced else weights


def _balanced(
    weights: NDArray[np.float64], manipulated: NDArray[np.bool_], authentic_share: float
) -> NDArray[np.float64]:
    """Scale the weights of each class so that they sum to its share of the draws."""
    shares = {"authentic": authentic_share, "manipulated": 1 - authentic_share}
    scaled = np.zeros_like(weights)
    for (name, share), members in zip(shares.items(), (~manipulated, manipulated), strict=True):
        total = weights[members].sum()
        if share > 0 and not total > 0:
            raise BadInputError(
                "empty-class", f"sampling.balanced: nothing {name} can be drawn, but a share of {share:.2f} should be"
            )
        if share > 0:
            scaled[members] = weights[members] * (share / total)
    return scaled


def draw(
    weights: NDArray[np.float64], seed: int, epoch: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw an epoch's rows, and a seed for the augmentation of each.

    Args:
        weights: float64 [N], not negative, not all zero.
        seed: the recipe's.
        epoch: from 0.
        count: number of draws.

    Returns:
        Rows, int64 [count] in 0..N-1, and seeds, int64 [count] in 0..2**63-1. The first k of a longer draw are those
        of a shorter one.
    """
    rows_stream, seeds_stream = np.random.SeedSequence((seed, epoch)).spawn(2)
    cumulative = np.cumsum(weights)
    points = np.random.default_rng(rows_stream).random(count) * cumulative[-1]
    # Rounding may put a point on the very end; the last row that can be drawn takes it.
    last = int(np.flatnonzero(weights)[-1])
    rows = np.searchsorted(cumulative, points, side="right").clip(max=last)
    seeds = np.random.default_rng(seeds_stream).integers(0, 2**63 - 1, size=count, dtype=np.int64, endpoint=True)
    return rows.astype(np.int64), seeds


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (row, seed) pairs for one of several processes.

    The draw is that of the whole epoch whatever the number of processes: batch b is positions [b·B, (b+1)·B) of it,
    and process r of W takes the r-th of W equal parts of every batch. Together the processes see exactly what one
    process would see, and a pair's augmentation depends on (seed, epoch, position) alone.
    """

    def __init__(
        self,
        weights: NDArray[np.float64],
        *,
        seed: int,
        batch_size: int,
        batches: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Set up the sampler.

        Args:
            weights: of every row, float64 [N].
            seed: the recipe's.
            batch_size: of all processes together; divisible by ``world``.
            batches: an epoch.
            rank: this process.
            world: number of processes.
        """
        self._weights = weights
        self._seed = seed
        self._batch_size = batch_size
        self._batches = batches
        self._part = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        self._epoch = 0
        self._first = 0

    def start_at(self, epoch: int, batch: int) -> None:
        """Say where the next iteration begins: at the given batch of the given epoch."""
        self._epoch = epoch
        self._first = batch

    def __len__(self) -> int:
        return self._batches - self._first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rows, seeds = draw(self._weights, self._seed, self._epoch, self._batches * self._batch_size)
        for batch in range(self._first, self._batches):
            here = slice(batch * self._batch_size, (batch + 1) * self._batch_size)
            yield list(zip(rows[here][self._part].tolist(), seeds[here][self._part].tolist(), strict=True))


def steps_per_epoch(samples: int, batch_size: int, accumulate: int) -> int:
    """Return the number of optimizer steps that see at least ``samples`` samples, whole batches only."""
    return -(-samples // (batch_size * accumulate))
