"""What is kept of a picture's prediction: two histograms from which the figures at every threshold and area follow.

**Quantisation.** Probabilities are counted in 1,024 equal bins: bin ``k`` holds k/1024 <= p < (k+1)/1024, the last one
also p = 1. Multiplying a float32 by 1,024 is exact, so at a threshold on the grid k/1024 every count of true and false
positives, and with it F1, IoU and the verdict, equals the count on the probabilities themselves. A threshold between
two grid points acts as the upper one. Image scores are kept exactly for the minimum areas named when collecting; for
another area they are rounded down to the grid.

**Size.** The histograms are compressed without loss, picture by picture: 1 to 2 KiB a picture and model, whatever its
size, on disk (see ``judging.tables``). At most ``CHUNK`` pictures are expanded at once.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bundle.regions.verdict import required_pixels
from core.errors import VeriframeError
from data.labels import is_manipulated
from judging.bootstrap import Groups
from judging.ratios import ratio
from judging.tables import MappedTable, TableCollector, join_tables, load_table, save_table
from tasks.regions.prediction import Prediction
from tasks.regions.settings import MIN_AREAS

BINS = 1024
COLUMNS = ("sample_id", "media_id", "group_id", "method", "compression", "label_name", "split")
CHUNK = 256  # pictures whose cumulative histograms are held at once
AREAS_KEY = b"veriframe.min_areas"  # schema metadata: the area fractions of ``scores``, a JSON list
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in COLUMNS),
        pa.field("label", pa.int64(), nullable=False),  # of the classes, 0 authentic
        pa.field("pixels", pa.int64(), nullable=False),
        pa.field("forged_pixels", pa.int64(), nullable=False),  # by the ground truth
        pa.field("scores", pa.list_(pa.float32()), nullable=False),  # image scores, one a minimum area
        # uint32 [2, 1024] over forged and over authentic pixels, its bytes by significance, deflated.
        pa.field("histograms", pa.large_binary(), nullable=False),
    ]
)

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
        mapped: the columns of ``SCHEMA``, a row a picture.
    """

    mapped: MappedTable
    _counts: dict[int, tuple[Counts, Counts]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def table(self) -> pa.Table:
        """The rows."""
        return self.mapped.table

    @classmethod
    def concatenate(cls, parts: Sequence["PixelStatistics"]) -> "PixelStatistics":
        """Return the pictures of several parts of a pass (see ``data.parts``), one part after the other.

        Raises:
            MismatchError: when the parts were collected for different minimum areas.
        """
        return cls(join_tables([part.mapped for part in parts]))

    @classmethod
    def load(cls, path: Path) -> "PixelStatistics":
        """Map the file that ``save`` wrote; it must stay as it is.

        Raises:
            BadInputError: ``not-statistics`` when it cannot be read.
        """
        return cls(load_table(path, SCHEMA.names))

    def save(self, path: Path) -> None:
        """Write all to a file.

        Raises:
            StorageError: when it cannot be written.
        """
        save_table(path, self.table)

    def column(self, name: str) -> NDArray[np.str_]:
        """Return one of ``COLUMNS``, [N]."""
        return np.asarray(self.table.column(name).to_numpy(), dtype=np.str_)

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """Labels of the classes, 0 authentic, [N]."""
        return self._numbers("label")

    @cached_property
    def pixels(self) -> Counts:
        """Number of pixels of each picture."""
        return self._numbers("pixels")

    @cached_property
    def forged_pixels(self) -> Counts:
        """Number of forged pixels of each picture by the ground truth."""
        return self._numbers("forged_pixels")

    def _numbers(self, name: str) -> Counts:
        return np.asarray(self.table.column(name).to_numpy(), dtype=np.int64)

    @property
    def min_areas(self) -> tuple[float, ...]:
        """The area fractions whose image scores are kept, ascending."""
        return tuple(json.loads(self.table.schema.metadata[AREAS_KEY]))

    @cached_property
    def groups(self) -> Groups:
        """The groups of the pictures, the unit of resampling."""
        return Groups.of(self.column("group_id"))

    @property
    def splits(self) -> NDArray[np.str_]:
        """The split of each picture."""
        return self.column("split")

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
        sizes, place = np.unique(self.pixels, return_inverse=True)
        needed = [required_pixels(int(size), min_area_fraction) for size in sizes]
        return np.array(needed, dtype=np.int64)[place]

    def at(self, threshold: float, min_area_fraction: float) -> Counted:
        """Count pixels at an operating point; a picture below the minimum area has an empty mask."""
        k = bin_of(threshold)
        if k not in self._counts:
            found = np.zeros((len(self), 2), dtype=np.int64)
            for rows, part in self.histograms():
                found[rows] = part[:, :, k:].sum(axis=2)
            self._counts[k] = found[:, 0], found[:, 1]
        tp, fp = self._counts[k]
        return _suppress(tp, fp, self.forged_pixels, self.required(min_area_fraction))

    def image_scores(self, min_area_fraction: float) -> NDArray[np.float64]:
        """Image score of each picture: the highest threshold at which it is called forged.

        Exact for an area in ``min_areas``, else rounded down to a multiple of 1/1024.
        """
        areas = self.min_areas
        if min_area_fraction in areas:
            scores = self.table.column("scores").combine_chunks().flatten().to_numpy().reshape(len(self), len(areas))
            return np.asarray(scores[:, areas.index(min_area_fraction)], dtype=np.float64)
        required = self.required(min_area_fraction)[:, None]
        highest = [
            BINS - 1 - np.argmax((tp + fp >= required[rows])[:, ::-1], axis=1) for rows, tp, fp in self.cumulative()
        ]
        return np.concatenate([*highest, np.zeros(0)]) / BINS

    def histograms(self) -> Iterator[tuple[slice, NDArray[np.uint32]]]:
        """Yield, for a few pictures at a time, (rows, histograms over forged and authentic pixels [rows, 2, 1024])."""
        packed = self.table.column("histograms")
        for start in range(0, len(self), CHUNK):  # not by Arrow's chunks: sums depend on the order of their terms
            rows = slice(start, min(start + CHUNK, len(self)))
            yield rows, _unpack(packed.slice(start, CHUNK))
        self.mapped.release()

    def cumulative(self) -> Iterator[tuple[slice, Counts, Counts]]:
        """Yield, for a few pictures at a time, (rows, true positives, false positives) at every grid threshold.

        The arrays are [rows, 1024]: column k counts the pixels at or above k/1024.
        """
        for rows, part in self.histograms():
            from_top = np.cumsum(part[:, :, ::-1], axis=2, dtype=np.int64)[:, :, ::-1]
            yield rows, from_top[:, 0], from_top[:, 1]

    @cached_property
    def pooled(self) -> Counts:
        """Histograms added up: [2, 2, 1024], of the pictures that are not ``localised`` and those that are, over their
        forged and authentic pixels.
        """
        localised, total = self.localised, np.zeros((2, 2, BINS), dtype=np.int64)
        for rows, part in self.histograms():
            for kind in (0, 1):
                total[kind] += part[localised[rows] == kind].sum(axis=0, dtype=np.int64)
        return total

    def select(self, keep: NDArray[Any]) -> "PixelStatistics":
        """Return the pictures that a boolean mask or an index array picks."""
        rows = np.flatnonzero(keep) if keep.dtype == np.bool_ else keep
        chosen = PixelStatistics(MappedTable(self.table.take(pa.array(rows, pa.int64()))))
        self.mapped.release()
        chosen._counts.update({k: (tp[rows], fp[rows]) for k, (tp, fp) in self._counts.items()})
        return chosen


def _pack(forged: NDArray[np.uint32], authentic: NDArray[np.uint32]) -> bytes:
    # Most counts are small: their high bytes, side by side, are runs of zeros.
    planes = np.stack([forged, authentic]).astype("<u4").reshape(-1, 1).view(np.uint8).T
    return zlib.compress(planes.tobytes(), 1)


def _unpack(packed: pa.ChunkedArray) -> NDArray[np.uint32]:
    joined = b"".join(zlib.decompress(one.as_buffer()) for one in packed)
    planes = np.frombuffer(joined, np.uint8).reshape(len(packed), 4, 2 * BINS)
    return np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<u4").reshape(len(packed), 2, BINS)


def _suppress(tp: Counts, fp: Counts, forged_pixels: Counts, required: Counts) -> Counted:
    """Apply the minimum area."""
    verdict = tp + fp >= required
    tp, fp = np.where(verdict, tp, 0), np.where(verdict, fp, 0)
    return Counted(tp, fp, forged_pixels - tp, verdict)


class StatisticsCollector:
    """Collects one model's statistics picture by picture, on disk."""

    def __init__(self, min_areas: Sequence[float] = MIN_AREAS) -> None:
        self._min_areas = tuple(sorted(set(min_areas)))
        self._table = TableCollector(SCHEMA.with_metadata({AREAS_KEY: json.dumps(self._min_areas).encode()}))

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
        # The score for an area is the k-th largest probability, k its required number of pixels.
        order = [probabilities.size - required_pixels(probabilities.size, area) for area in self._min_areas]
        scores = np.partition(probabilities.ravel(), order)[order].astype(np.float32)
        self._table.add(
            {name: str(row[name]) for name in COLUMNS}
            | {
                "label": int(row["label"]),
                "pixels": probabilities.size,
                "forged_pixels": int(mask.sum(dtype=np.int64)),
                "scores": scores,
                "histograms": _pack(histogram(probabilities[mask]), histogram(probabilities[~mask])),
            }
        )

    def build(self) -> PixelStatistics:
        """Return the statistics of what was added; nothing can be added afterwards."""
        return PixelStatistics(self._table.build())


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
