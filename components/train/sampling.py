"""Which samples an epoch sees: a weighted draw with replacement that is a pure function of (seed, epoch)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


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
            whole = slice(batch * self._batch_size, (batch + 1) * self._batch_size)
            yield list(zip(rows[whole][self._part].tolist(), seeds[whole][self._part].tolist(), strict=True))


def steps_per_epoch(samples: int, batch_size: int, accumulate: int) -> int:
    """Return the number of optimizer steps that see at least ``samples`` samples, whole batches only."""
    return -(-samples // (batch_size * accumulate))
