"""Two models on the same pictures: differences with paired intervals, and false positives at equal recall."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bundle.regions.verdict import OperatingPoint
from core.errors import MismatchError
from judging.bootstrap import Bootstrap, Weights, intervals
from judging.guard import require_val
from judging.ratios import defined
from tasks.regions.curves import threshold_curves
from tasks.regions.metrics import PointFigures
from tasks.regions.statistics import PixelStatistics

COMPARED = ("f1", "iou", "authentic_fpr", "authentic_fp_fraction", "forged_recall", "pixel_recall")

RecallKind = Literal["image", "pixel"]


def paired_differences(
    first: PixelStatistics,
    first_point: OperatingPoint,
    second: PixelStatistics,
    second_point: OperatingPoint,
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Any]]:
    """Return ``second`` - ``first`` of each figure on the same pictures, each model at its own point.

    Both are resampled together, so what makes a picture hard for both does not widen the interval.

    Returns:
        By figure: ``first``, ``second``, ``difference`` (None where undefined) and ``interval`` [low, high] or None.

    Raises:
        MismatchError: when the two are not of the same pictures in the same order.
    """
    if not np.array_equal(first.column("sample_id"), second.column("sample_id")):
        raise MismatchError("the two models were evaluated on different pictures, so they cannot be compared in pairs")

    groups = first.groups
    figures = [
        PointFigures(one, one.at(point.threshold, point.min_area_fraction), groups)
        for one, point in ((first, first_point), (second, second_point))
    ]

    def differences(weights: Weights) -> Mapping[str, NDArray[np.float64]]:
        before, after = (one(weights) for one in figures)
        return {name: after[name] - before[name] for name in COMPARED}

    before, after = (one(groups.once) for one in figures)
    found = intervals(differences, groups, bootstrap)
    return {
        name: {
            "first": defined(before[name][0]),
            "second": defined(after[name][0]),
            "difference": defined(after[name][0] - before[name][0]),
            "interval": list(found[name]) if name in found else None,
        }
        for name in COMPARED
    }


def threshold_at_recall(
    val_statistics: PixelStatistics, kind: RecallKind, recall: float, min_area_fraction: float
) -> tuple[float | None, float]:
    """Choose on val the highest threshold at which a recall is reached.

    Args:
        val_statistics: of pictures of the val split.
        kind: ``image``: share of forged pictures called forged; ``pixel``: mean share of a forged region found.
        recall: the recall to reach, 0..1.
        min_area_fraction: the minimum area, fixed.

    Returns:
        The threshold on the grid (None where no threshold above 0 reaches the recall), and the recall on val there,
        or the highest one that is reached.

    Raises:
        SplitLeakError: when a picture is not of the val split.
    """
    require_val(val_statistics.splits, "the threshold of a given recall")
    (curves,) = threshold_curves(val_statistics, [min_area_fraction])
    reached = curves.forged_recall if kind == "image" else curves.pixel_recall
    enough = np.flatnonzero(reached >= recall - 1e-9)
    if not len(enough) or enough[-1] == 0:
        return None, float(reached[1])
    return float(curves.threshold[enough[-1]]), float(reached[enough[-1]])


def fpr_at_equal_recall(
    val: Mapping[str, PixelStatistics],
    test: Mapping[str, PixelStatistics],
    *,
    kind: RecallKind,
    recall: float,
    min_area_fraction: float,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Compare the false positives of two models where both find equally much.

    Each model's threshold is chosen on val so that its recall there reaches ``recall``; the false positives on
    authentic pictures, and the recall that was in fact had, are then measured on test.

    Args:
        val: statistics of the val split by model; exactly two, the first is the one compared with.
        test: statistics of the pictures to measure on, by the same names.
        kind: whose recall, see ``threshold_at_recall``.
        recall: the common recall on val, 0..1.
        min_area_fraction: the minimum area, equal for both.
        bootstrap: how the paired intervals are drawn.

    Returns:
        ``kind``, ``recall``, ``min_area_fraction``; ``models``, by name ``threshold`` and ``val_recall``;
        ``differences`` as ``paired_differences`` gives them, None where a model does not reach the recall, with the
        ``reason``.
    """
    first, second = val
    chosen = {name: threshold_at_recall(val[name], kind, recall, min_area_fraction) for name in (first, second)}
    result: dict[str, Any] = {
        "kind": kind,
        "recall": recall,
        "min_area_fraction": min_area_fraction,
        "models": {name: {"threshold": t, "val_recall": defined(reached)} for name, (t, reached) in chosen.items()},
        "differences": None,
        "reason": None,
    }
    short = [f"{name} reaches {reached:.3f} at most" for name, (t, reached) in chosen.items() if t is None]
    if short:
        result["reason"] = f"{kind} recall {recall:.3f} is not reached on val: {'; '.join(short)}"
        return result
    points = {
        name: OperatingPoint(threshold=t, min_area_fraction=min_area_fraction)
        for name, (t, _) in chosen.items()
        if t is not None
    }
    result["differences"] = paired_differences(test[first], points[first], test[second], points[second], bootstrap)
    return result
