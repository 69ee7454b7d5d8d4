"""What is kept of a picture's prediction: two histograms from which the figures at every threshold and area follow.

**Quantisation.** Probabilities are counted in 1,024 equal bins: bin ``k`` holds k/1024 <= p < (k+1)/1024, the last one
also p = 1. Multiplying a float32 by 1,024 is exact, so at a threshold on the grid k/1024 every count of true and false
positives, and with it F1, IoU and the verdict, equals the count on the probabilities themselves. A threshold between
two grid points acts as the upper one. Image scores are kept exactly for the minimum areas named when collecting; for
another area they are rounded down to the grid.

Memory: 8 KiB a picture, whatever its size.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.regions.verdict import required_pixels
from core.errors import VeriframeError
from data.labels import is_manipulated
from judging.ratios import ratio
from tasks.regions.prediction import Prediction
from tasks.regions.settings import MIN_AREAS

BINS = 1024
COLUMNS = ("sample_id", "media_id", "group_id", "method", "compression", "label_name", "split")
CHUNK = 256  # pictures whose cumulative histograms are held at once

Counts = NDArray[np.int64]


def grid_threshold(k: int) -> float:
    """Return the threshold at which exactly the bins from ``k`` on are positive."""
    return k / BINS


def bin_of(threshold: float) -> int:
    """Return the first bin that is positive at ``threshold``, 0..1024."""
    return min(max(math.ceil(threshold * BINS), 0), BINS)


def histogram(probabilities: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Count probabilities in 0..1 into the 1,024 bins."""
    bins = np.minimum((probabilities * np.float32(BINS)).astype(np.int32), BINS - 1)
    return np.bincount(bins.ravel(), minlength=BINS).astype(np.uint32)


def f1_score(tp: Counts, fp: Counts, fn: Counts) -> NDArray[np.float64]:
    """F1 = 2·TP / (2·TP + FP + FN); NaN where nothing is forged and nothing was called so."""
    return ratio(2 * tp, 2 * tp + fp + fn)


def iou_score(tp: Counts, fp: Counts, fn: Counts) -> NDArray[np.float64]:
    """IoU = TP / (TP + FP + FN); NaN where nothing is forged and nothing was called so."""
    return ratio(tp, tp + fp + fn)


@dataclass(frozen=True)
class Counted:
    """Pixel counts of N pictures at an operating point (or, with a trailing axis, at several).

    ``verdict`` says whether the picture is called forged; where it is not, its mask is empty: ``tp`` = ``fp`` = 0.
    """

    tp: Counts
    fp: Counts
    fn: Counts
    verdict: NDArray[np.bool_]

    @property
    def f1(self) -> NDArray[np.float64]:
        """F1 of each picture."""
        return f1_score(self.tp, self.fp, self.fn)

    @property
    def iou(self) -> NDArray[np.float64]:
        """IoU of each picture."""
        return iou_score(self.tp, self.fp, self.fn)


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of one model's predictions for N pictures.

    Attributes:
        columns: strings [N] by the names in ``COLUMNS``.
        label: int [N], of the classes, 0 authentic.
        pixels: pixels of each picture, int64 [N].
        forged: histogram over forged pixels, uint32 [N, 1024].
        authentic: histogram over authentic pixels, uint32 [N, 1024].
        min_areas: the area fractions whose image scores are kept, ascending.
        scores: image scores for them, float32 [N, areas].
    """

    columns: Mapping[str, NDArray[np.str_]]
    label: NDArray[np.int64]
    pixels: Counts
    forged: NDArray[np.uint32]
    authentic: NDArray[np.uint32]
    min_areas: tuple[float, ...]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def splits(self) -> NDArray[np.str_]:
        """The split of each picture."""
        return self.columns["split"]

    @cached_property
    def forged_pixels(self) -> Counts:
        """Number of forged pixels of each picture by the ground truth."""
        return np.asarray(self.forged.sum(axis=1, dtype=np.int64))

    @property
    def forged_fraction(self) -> NDArray[np.float64]:
        """Forged area of each picture by the ground truth, 0..1."""
        return self.forged_pixels / self.pixels

    @property
    def localised(self) -> NDArray[np.bool_]:
        """The pictures that have a forged region to find: those that F1 and IoU are averaged over."""
        return np.asarray(is_manipulated(self.label) & (self.forged_pixels > 0))

    @property
    def has_both_classes(self) -> bool:
        """Whether there are authentic pictures and forged ones."""
        forged = is_manipulated(self.label)
        return bool(forged.any() and not forged.all())

    def required(self, min_area_fraction: float) -> Counts:
        """Smallest number of positive pixels at which each picture is called forged."""
        return np.array([required_pixels(int(n), min_area_fraction) for n in self.pixels], dtype=np.int64)

    def at(self, threshold: float, min_area_fraction: float) -> Counted:
        """Count pixels at an operating point; a picture below the minimum area has an empty mask."""
        k = bin_of(threshold)
        tp = self.forged[:, k:].sum(axis=1, dtype=np.int64)
        fp = self.authentic[:, k:].sum(axis=1, dtype=np.int64)
        return _suppress(tp, fp, self.forged_pixels, self.required(min_area_fraction))

    def image_scores(self, min_area_fraction: float) -> NDArray[np.float64]:
        """Image score of each picture: the highest threshold at which it is called forged.

        Exact for an area in ``min_areas``, else rounded down to a multiple of 1/1024.
        """
        if min_area_fraction in self.min_areas:
            return self.scores[:, self.min_areas.index(min_area_fraction)].astype(np.float64)
        required = self.required(min_area_fraction)[:, None]
        highest = [
            BINS - 1 - np.argmax((tp + fp >= required[rows])[:, ::-1], axis=1) for rows, tp, fp in self.cumulative()
        ]
        return np.concatenate([*highest, np.zeros(0)]) / BINS

    def cumulative(self) -> Iterator[tuple[slice, Counts, Counts]]:
        """Yield, for a few pictures at a time, (rows, true positives, false positives) at every grid threshold.

        The arrays are [rows, 1024]: column k counts the pixels at or above k/1024.
        """
        for start in range(0, len(self), CHUNK):
            rows = slice(start, min(start + CHUNK, len(self)))
            yield rows, _from_top(self.forged[rows]), _from_top(self.authentic[rows])

    def select(self, keep: NDArray[Any]) -> "PixelStatistics":
        """Return the pictures that a boolean mask or an index array picks."""
        return PixelStatistics(
            columns={name: values[keep] for name, values in self.columns.items()},
            label=self.label[keep],
            pixels=self.pixels[keep],
            forged=self.forged[keep],
            authentic=self.authentic[keep],
            min_areas=self.min_areas,
            scores=self.scores[keep],
        )


def _from_top(counts: NDArray[np.uint32]) -> Counts:
    return np.cumsum(counts[:, ::-1], axis=1, dtype=np.int64)[:, ::-1]


def _suppress(tp: Counts, fp: Counts, forged_pixels: Counts, required: Counts) -> Counted:
    verdict = tp + fp >= required
    tp, fp = np.where(verdict, tp, 0), np.where(verdict, fp, 0)
    return Counted(tp, fp, forged_pixels - tp, verdict)


def counted_at_grid(tp: Counts, fp: Counts, forged_pixels: Counts, required: Counts) -> Counted:
    """Apply the minimum area to cumulative counts [rows, 1024]; ``forged_pixels`` and ``required`` are [rows]."""
    return _suppress(tp, fp, forged_pixels[:, None], required[:, None])


class StatisticsCollector:
    """Collects one model's statistics picture by picture."""

    def __init__(self, min_areas: Sequence[float] = MIN_AREAS) -> None:
        self._min_areas = tuple(sorted(set(min_areas)))
        self._rows: list[dict[str, str]] = []
        self._numbers: list[tuple[int, int]] = []
        self._histograms: list[NDArray[np.uint32]] = []
        self._scores: list[NDArray[np.float32]] = []

    def add(self, row: Mapping[str, Any], mask: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> None:
        """Count one picture.

        Args:
            row: its row of the sample index.
            mask: ground truth [H, W].
            probabilities: of being forged, float32 [H, W] in 0..1.

        Raises:
            VeriframeError: when a probability is not finite, which only a broken model gives.
        """
        if not np.isfinite(probabilities).all():
            raise VeriframeError(
                f"the model's output for sample {row['sample_id']} is not finite; judge in fp32, or train it again"
            )
        self._rows.append({name: str(row[name]) for name in COLUMNS})
        self._numbers.append((int(row["label"]), probabilities.size))
        self._histograms.append(np.stack([histogram(probabilities[mask]), histogram(probabilities[~mask])]))
        # The score for an area is the k-th largest probability, k its required number of pixels.
        order = [probabilities.size - required_pixels(probabilities.size, area) for area in self._min_areas]
        self._scores.append(np.partition(probabilities.ravel(), order)[order].astype(np.float32))

    def build(self) -> PixelStatistics:
        """Return the statistics of what was added so far."""
        count = len(self._rows)
        numbers = np.array(self._numbers, dtype=np.int64).reshape(count, 2)
        histograms = np.array(self._histograms, dtype=np.uint32).reshape(count, 2, BINS)
        return PixelStatistics(
            columns={name: np.array([row[name] for row in self._rows], dtype=np.str_) for name in COLUMNS},
            label=numbers[:, 0],
            pixels=numbers[:, 1],
            forged=histograms[:, 0],
            authentic=histograms[:, 1],
            min_areas=self._min_areas,
            scores=np.array(self._scores, dtype=np.float32).reshape(count, len(self._min_areas)),
        )


def collect_statistics(
    predictions: Iterable[Prediction],
    names: Sequence[str],
    min_areas: Sequence[float],
    look: Callable[[Prediction], None] | None = None,
) -> dict[str, PixelStatistics]:
    """Collect the statistics of some members and ensembles over a pass.

    Args:
        predictions: from ``predict_pictures``.
        names: of members or ensembles.
        min_areas: the areas whose image scores are kept exactly.
        look: also called with every picture, while its maps are at hand.
    """
    collectors = {name: StatisticsCollector(min_areas) for name in names}
    for picture in predictions:
        for name, collector in collectors.items():
            collector.add(picture.row, picture.mask, picture.probabilities[name])
        if look is not None:
            look(picture)
    return {name: collector.build() for name, collector in collectors.items()}
