"""Choosing the operating point: on the val split, and on nothing else."""

from collections.abc import Sequence

import numpy as np

from bundle.regions.verdict import OperatingPoint
from core.errors import BadInputError
from data.labels import AUTHENTIC
from judging.choice import Choice
from judging.guard import require_val
from tasks.regions.curves import ThresholdCurves, threshold_curves
from tasks.regions.settings import MIN_AREAS
from tasks.regions.statistics import BINS, PixelStatistics, bin_of


def choose_operating_point(
    val_statistics: PixelStatistics, *, max_authentic_fpr: float, min_areas: Sequence[float] = MIN_AREAS
) -> Choice:
    """Choose threshold and minimum area: the highest mean F1 whose authentic false-positive rate is under a ceiling.

    The grid is the thresholds 1/1024 … 1023/1024 × ``min_areas``. Where no point is under the ceiling, the lowest
    false-positive rate is taken and ``note`` says so. Ties go to the lower false-positive rate, then to the
    threshold nearest to 0.5, then to the smaller minimum area.

    Args:
        val_statistics: of pictures of the val split, of both classes.
        max_authentic_fpr: the ceiling, 0..1.
        min_areas: fractions of the picture, 0..1.

    Returns:
        The choice: its decision is an ``OperatingPoint``, its curves are ``ThresholdCurves``, one a minimum area.

    Raises:
        SplitLeakError: when a picture is not of the val split.
        BadInputError: ``empty-class`` when there are no authentic pictures, or none with a forged region.
    """
    require_val(val_statistics.splits, "the operating point")
    _require_classes(val_statistics)
    areas = sorted(set(min_areas))
    curves = threshold_curves(val_statistics, areas)
    f1 = np.array([curve.f1[1:] for curve in curves])
    fpr = np.array([curve.authentic_fpr[1:] for curve in curves])
    threshold = np.broadcast_to(curves[0].threshold[1:], f1.shape)
    area = np.broadcast_to(np.array(areas)[:, None], f1.shape)
    under = fpr <= max_authentic_fpr
    meets = bool(under.any())
    f1 = f1.round(9)  # sums that differ in the last bit are ties
    keys = [np.where(under, -f1, np.inf), fpr] if meets else [fpr, -f1]
    order = [area, np.abs(threshold - 0.5), *reversed(keys)]  # lexsort sorts by its last key first
    best = int(np.lexsort([key.ravel() for key in order])[0])
    row, column = np.unravel_index(best, f1.shape)
    curve, k = curves[row], int(column) + 1
    figures = _figures(curve, k)
    rate = f"false-positive rate {figures['authentic_fpr']:.3f} on authentic pictures"
    note = (
        f"highest F1 on val ({figures['f1']:.3f}) with a {rate}, ceiling {max_authentic_fpr:.3f}"
        if meets
        else f"no point on val is under the ceiling of {max_authentic_fpr:.3f}; the lowest {rate} was taken"
    )
    point = OperatingPoint(threshold=float(curve.threshold[k]), min_area_fraction=float(areas[row]))
    return Choice(point, meets, note, figures, curves)


def keep_operating_point(
    val_statistics: PixelStatistics, point: OperatingPoint, *, max_authentic_fpr: float, note: str
) -> Choice:
    """Return a point that was chosen elsewhere, such as a bundle's, with its figures on val.

    Args:
        val_statistics: of pictures of the val split.
        point: the decision.
        max_authentic_fpr: the ceiling, 0..1.
        note: where the point is from.

    Raises:
        SplitLeakError: when a picture is not of the val split.
        BadInputError: ``empty-class`` when there are no authentic pictures, or none with a forged region.
    """
    require_val(val_statistics.splits, "the figures of an operating point")
    _require_classes(val_statistics)
    curves = threshold_curves(val_statistics, [point.min_area_fraction])
    figures = _figures(curves[0], min(bin_of(point.threshold), BINS - 1))
    return Choice(point, figures["authentic_fpr"] <= max_authentic_fpr, note, figures, curves)


def _require_classes(val_statistics: PixelStatistics) -> None:
    for count, what in (
        (int((val_statistics.label == AUTHENTIC).sum()), "authentic pictures"),
        (int(val_statistics.localised.sum()), "pictures with a forged region"),
    ):
        if not count:
            raise BadInputError(
                "empty-class", f"the val split has no {what}, so no operating point can be chosen; extract with more"
            )


def _figures(curve: ThresholdCurves, k: int) -> dict[str, float]:
    names = ("f1", "iou", "pixel_recall", "forged_recall", "authentic_fpr", "authentic_fp_fraction")
    return {name: float(getattr(curve, name)[k]) for name in names}


def point_of(choice: Choice) -> OperatingPoint:
    """Return the decision of a choice that ``choose_operating_point`` made."""
    point = choice.decision
    if not isinstance(point, OperatingPoint):
        raise TypeError(f"an operating point was to be chosen, not a {type(point).__name__}")
    return point
