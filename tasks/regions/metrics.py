"""The figures of marked regions at a fixed operating point, with intervals, by stratum, beside the false positives."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bundle.regions.verdict import OperatingPoint
from data.labels import AUTHENTIC, is_manipulated
from judging.bootstrap import Bootstrap, Groups, Weights, intervals
from judging.detection import detection_metrics, finish
from judging.ratios import ratio
from tasks.regions.curves import oracle_f1
from tasks.regions.statistics import BINS, Counted, PixelStatistics

AREA_BANDS = ((0.0, 0.01, "under 1 %"), (0.01, 0.05, "1 to 5 %"), (0.05, 0.2, "5 to 20 %"), (0.2, 1.01, "over 20 %"))
NO_BOOTSTRAP = Bootstrap(resamples=0)

NEEDS_REGION = ("f1", "iou", "pixel_recall", "f1_pooled", "iou_pooled")
NEEDS_AUTHENTIC = ("authentic_fpr", "authentic_fp_fraction")
REASONS = {
    **dict.fromkeys(NEEDS_REGION, "no pictures with a forged region"),
    **dict.fromkeys(NEEDS_AUTHENTIC, "no authentic pictures"),
    "forged_recall": "no forged pictures",
}


class PointFigures:
    """The figures at an operating point under many weightings of the pictures' groups.

    ``f1`` and ``iou`` are means over pictures with a forged region; ``f1_pooled`` and ``iou_pooled`` count their
    pixels together; ``authentic_fpr`` is the share of authentic pictures called forged and ``authentic_fp_fraction``
    the mean share of their pixels marked; ``forged_recall`` is the share of forged pictures called forged, and
    ``pixel_recall`` the mean share of a forged region that is found.
    """

    def __init__(self, statistics: PixelStatistics, counted: Counted, groups: Groups) -> None:
        region = statistics.localised
        forged, authentic = is_manipulated(statistics.label), statistics.label == AUTHENTIC
        found = ratio(counted.tp, statistics.forged_pixels)
        values: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {
            "regions": (region, region),
            "authentic": (authentic, authentic),
            "forged": (forged, forged),
            "f1": (counted.f1, region),
            "iou": (counted.iou, region),
            "tp": (counted.tp, region),
            "fp": (counted.fp, region),
            "fn": (counted.fn, region),
            "pixel_recall": (found, region),
            "authentic_fpr": (counted.verdict, authentic),
            "authentic_fp_fraction": (counted.fp / statistics.pixels, authentic),
            "forged_recall": (counted.verdict, forged),
        }
        self._names = tuple(values)
        self._sums = np.column_stack([groups.sums(np.where(among, value, 0)) for value, among in values.values()])

    def __call__(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """Return values [R] by name for weights [R, G]; NaN where undefined."""
        sums = dict(zip(self._names, (weights @ self._sums).T, strict=True))
        tp, fp, fn = sums["tp"], sums["fp"], sums["fn"]
        return {
            **{name: ratio(sums[name], sums["regions"]) for name in ("f1", "iou", "pixel_recall")},
            "f1_pooled": ratio(2 * tp, 2 * tp + fp + fn),
            "iou_pooled": ratio(tp, tp + fp + fn),
            **{name: ratio(sums[name], sums["authentic"]) for name in NEEDS_AUTHENTIC},
            "forged_recall": ratio(sums["forged_recall"], sums["forged"]),
        }


def point_metrics(statistics: PixelStatistics, point: OperatingPoint, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return ``PointFigures`` as plain numbers, with ``intervals``, ``undefined`` and ``counts``."""
    groups = statistics.groups
    figures = PointFigures(statistics, statistics.at(point.threshold, point.min_area_fraction), groups)
    values = {name: float(value[0]) for name, value in figures(groups.once).items()}
    forged = int(is_manipulated(statistics.label).sum())
    counts = {"authentic": len(statistics) - forged, "forged": forged}
    return finish(values, intervals(figures, groups, bootstrap), REASONS) | {"counts": counts}


def image_metrics(
    statistics: PixelStatistics, point: OperatingPoint, bootstrap: Bootstrap, *, by_medium: bool = False
) -> dict[str, Any]:
    """Return the figures of detection of whole pictures, or of media over their pictures' mean score."""
    return detection_metrics(
        statistics.label,
        statistics.image_scores(point.min_area_fraction),
        statistics.groups.codes,
        threshold=point.threshold,
        media=statistics.column("media_id") if by_medium else None,
        bootstrap=bootstrap,
    )


def pixel_metrics(statistics: PixelStatistics) -> dict[str, float | None]:
    """Return pixel figures that need no threshold, from the pooled histograms.

    ``auc`` is over the pixels of pictures with a forged region, None without any; ``ece`` over all pixels, in the
    1,024 bins, each taken at its middle.
    """
    forged, beside = statistics.pooled[1]
    auc = None
    if forged.sum() and beside.sum():
        bins = np.arange(BINS)
        labels, weights = np.repeat([1, 0], BINS), np.concatenate([forged, beside])
        auc = float(roc_auc_score(labels, np.tile(bins, 2), sample_weight=weights))
    positive, total = reliability(statistics)
    middle = (np.arange(BINS) + 0.5) / BINS
    ece = float(np.abs(middle * total - positive).sum() / total.sum()) if total.sum() else None
    return {"auc": auc, "ece": ece}


def reliability(statistics: PixelStatistics) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return forged pixels and all pixels in each of the 1,024 bins of probability, over all pictures."""
    positive, negative = statistics.pooled.sum(axis=0)
    return positive, positive + negative


def oracle_metrics(statistics: PixelStatistics) -> dict[str, float | None]:
    """Return the F1 with thresholds chosen on the very pictures it is measured on: upper bounds, not results.

    ``oracle_f1`` with the one best threshold for all pictures, ``oracle_f1_per_image`` with the best for each.
    """
    if not statistics.localised.any():
        return {"oracle_f1": None, "oracle_threshold": None, "oracle_f1_per_image": None}
    curve, of_each = oracle_f1(statistics)
    best = int(np.argmax(curve))
    return {
        "oracle_f1": float(curve[best]),
        "oracle_threshold": best / BINS,
        "oracle_f1_per_image": float(np.nanmean(of_each)),
    }


def region_metrics(
    statistics: PixelStatistics, point: OperatingPoint, *, bootstrap: Bootstrap = NO_BOOTSTRAP
) -> dict[str, Any]:
    """Return all figures of one model on one split, at an operating point fixed beforehand.

    Returns:
        The figures of ``PointFigures`` and ``oracle_metrics``; ``operating_point``; ``image`` and ``media`` (see
        ``detection_metrics``; over media, scores are averaged); ``pixel``; ``strata`` by forged area, method and
        compression; ``counts``, ``intervals`` and ``undefined``, a reason for each figure that is None.
    """
    metrics = point_metrics(statistics, point, bootstrap)
    oracle, pixel = oracle_metrics(statistics), pixel_metrics(statistics)
    metrics["undefined"] |= {name: REASONS["f1"] for name, value in oracle.items() if value is None}
    return {
        **metrics,
        **oracle,
        "operating_point": point.model_dump(mode="json"),
        "image": image_metrics(statistics, point, bootstrap),
        "media": image_metrics(statistics, point, bootstrap, by_medium=True),
        "pixel": pixel,
        "strata": {
            "forged_area": area_strata(statistics, point, bootstrap),
            "method": method_strata(statistics, point, bootstrap),
            "compression": compression_strata(statistics, point, bootstrap),
        },
    }


def area_strata(statistics: PixelStatistics, point: OperatingPoint, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Return the figures of forged pictures by the forged share of their area; bands without pictures are left out."""
    fraction = statistics.forged_fraction
    bands = {name: statistics.localised & (low <= fraction) & (fraction < high) for low, high, name in AREA_BANDS}
    return {
        name: point_metrics(statistics.select(keep), point, bootstrap) for name, keep in bands.items() if keep.any()
    }


def method_strata(
    statistics: PixelStatistics, point: OperatingPoint, bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Return the figures by method; a forged method is set against all authentic pictures."""
    method, authentic = statistics.column("method"), statistics.label == AUTHENTIC
    strata = {}
    for name in np.unique(method):
        own = method == name
        keep = own | authentic if (own & ~authentic).any() else own
        strata[str(name)] = _with_detection(statistics.select(keep), point, bootstrap)
    return strata


def compression_strata(
    statistics: PixelStatistics, point: OperatingPoint, bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Return the figures by compression, forged and authentic pictures of the same one together."""
    compression = statistics.column("compression")
    return {
        str(name): _with_detection(statistics.select(compression == name), point, bootstrap)
        for name in np.unique(compression)
    }


def _with_detection(statistics: PixelStatistics, point: OperatingPoint, bootstrap: Bootstrap) -> dict[str, Any]:
    metrics: Mapping[str, Any] = point_metrics(statistics, point, bootstrap)
    return {
        **metrics,
        "image": image_metrics(statistics, point, bootstrap),
        "media": image_metrics(statistics, point, bootstrap, by_medium=True),
    }
