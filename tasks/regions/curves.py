"""Every figure of localisation and of false positives as a function of the threshold."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from data.labels import AUTHENTIC, is_manipulated
from judging.ratios import ratio
from tasks.regions.statistics import BINS, PixelStatistics, f1_score, iou_score

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdCurves:
    """Figures at the 1,024 thresholds k/1024 for one minimum area; NaN where a figure is not defined.

    Attributes:
        min_area_fraction: the minimum area.
        threshold: k/1024.
        f1, iou, pixel_recall: means over pictures with a forged region.
        forged_recall: share of forged pictures called forged.
        authentic_fpr: share of authentic pictures called forged.
        authentic_fp_fraction: mean share of an authentic picture's pixels marked as forged.
    """

    min_area_fraction: float
    threshold: Curve
    f1: Curve
    iou: Curve
    pixel_recall: Curve
    forged_recall: Curve
    authentic_fpr: Curve
    authentic_fp_fraction: Curve

    def to_json(self, digits: int = 6) -> dict[str, object]:
        """Return plain lists, rounded, None where a figure is not defined."""
        return {
            name: value
            if isinstance(value, float)
            else [None if np.isnan(v) else round(float(v), digits) for v in value]
            for name, value in asdict(self).items()
        }


def threshold_curves(statistics: PixelStatistics, min_areas: Sequence[float]) -> list[ThresholdCurves]:
    """Sweep all grid thresholds for each minimum area in one pass over the pictures."""
    localised, forged = statistics.localised, is_manipulated(statistics.label)
    authentic = statistics.label == AUTHENTIC
    required = [statistics.required(area) for area in min_areas]
    sums, reached = np.zeros((len(min_areas), 4, BINS)), np.zeros((len(min_areas), 2, BINS + 1), dtype=np.int64)
    for rows, tp, fp in statistics.cumulative():
        hit, real = localised[rows], authentic[rows]
        region = statistics.forged_pixels[rows][hit, None]
        found, beside = tp[hit], fp[hit]
        figures = [f1_score(found, beside, region - found), iou_score(found, beside, region - found), found / region]
        marked = fp[real] / statistics.pixels[rows][real, None]
        for number, needed in enumerate(required):
            # Fewer pixels are positive at a higher threshold: each picture is called forged below a bin of its own.
            ends = (tp + fp >= needed[rows][:, None]).sum(axis=1)
            for kind, among in enumerate((forged[rows], real)):
                reached[number, kind] += np.bincount(ends[among], minlength=BINS + 1)
            called = (np.arange(BINS) < ends[:, None]).astype(np.float64)
            for figure, values in enumerate(figures):
                sums[number, figure] += np.einsum("nk,nk->k", values, called[hit])
            sums[number, 3] += np.einsum("nk,nk->k", marked, called[real])
    counts = np.cumsum(reached[:, :, :0:-1], axis=2)[:, :, ::-1]  # of pictures called forged at each threshold
    threshold, per = np.arange(BINS) / BINS, [localised.sum(), forged.sum(), authentic.sum()]
    return [
        ThresholdCurves(
            min_area_fraction=float(area),
            threshold=threshold,
            f1=ratio(sums[number, 0], per[0]),
            iou=ratio(sums[number, 1], per[0]),
            pixel_recall=ratio(sums[number, 2], per[0]),
            forged_recall=ratio(counts[number, 0], per[1]),
            authentic_fpr=ratio(counts[number, 1], per[2]),
            authentic_fp_fraction=ratio(sums[number, 3], per[2]),
        )
        for number, area in enumerate(min_areas)
    ]


def oracle_f1(statistics: PixelStatistics) -> tuple[Curve, Curve]:
    """Return F1 without a minimum area, of the pictures with a forged region.

    A threshold chosen with the ground truth in view is an oracle: an upper bound, not a result.

    Returns:
        The mean at each of the 1,024 thresholds, and the best of each picture over them, [N]; NaN where nothing is
        forged.
    """
    best, total = np.full(len(statistics), np.nan), np.zeros(BINS)
    for rows, tp, fp in statistics.cumulative():
        hit = statistics.localised[rows]
        found = tp[hit]
        f1 = f1_score(found, fp[hit], statistics.forged_pixels[rows][hit, None] - found)
        best[rows][hit] = f1.max(axis=1)
        total += f1.sum(axis=0)
    return total / max(1, statistics.localised.sum()), best
