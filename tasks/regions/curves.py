"""Every figure of localisation and of false positives as a function of the threshold."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from data.labels import AUTHENTIC, is_manipulated
from judging.ratios import ratio
from tasks.regions.statistics import BINS, PixelStatistics, counted_at_grid

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
    localised = statistics.localised
    forged, authentic = is_manipulated(statistics.label), statistics.label == AUTHENTIC
    required = [statistics.required(area) for area in min_areas]
    sums = np.zeros((len(min_areas), 6, BINS))
    for rows, tp, fp in statistics.cumulative():
        forged_pixels = statistics.forged_pixels[rows]
        for number, needed in enumerate(required):
            counted = counted_at_grid(tp, fp, forged_pixels, needed[rows])
            hit, real = localised[rows], authentic[rows]
            sums[number] += [
                counted.f1[hit].sum(axis=0),
                counted.iou[hit].sum(axis=0),
                ratio(counted.tp, forged_pixels[:, None])[hit].sum(axis=0),
                counted.verdict[forged[rows]].sum(axis=0),
                counted.verdict[real].sum(axis=0),
                (counted.fp[real] / statistics.pixels[rows][real, None]).sum(axis=0),
            ]
    per = [np.array(n) for n in (localised.sum(),) * 3 + (forged.sum(),) + (authentic.sum(),) * 2]
    threshold = np.arange(BINS) / BINS
    return [
        ThresholdCurves(float(area), threshold, *(ratio(total, n) for total, n in zip(sums[i], per, strict=True)))
        for i, area in enumerate(min_areas)
    ]


def best_f1_of_each(statistics: PixelStatistics) -> Curve:
    """Best F1 of each picture over all thresholds, without a minimum area; NaN where nothing is forged.

    A threshold chosen per picture with its ground truth in view is an oracle: an upper bound, not a result.
    """
    best = np.full(len(statistics), np.nan)
    required = statistics.required(0.0)
    for rows, tp, fp in statistics.cumulative():
        f1 = counted_at_grid(tp, fp, statistics.forged_pixels[rows], required[rows]).f1
        best[rows] = f1.max(axis=1)
    best[statistics.forged_pixels == 0] = np.nan
    return best
