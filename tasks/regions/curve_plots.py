"""Plots of figures by threshold, for reports."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

from bundle.regions.verdict import OperatingPoint
from judging.plots import COLOURS, RELIABILITY_BINS, new_canvas, reliability_plot, to_png
from judging.ratios import ratio
from tasks.regions.curves import ThresholdCurves
from tasks.regions.metrics import reliability
from tasks.regions.statistics import BINS, PixelStatistics


def threshold_plot(title: str, curves: ThresholdCurves, point: OperatingPoint | None = None) -> bytes:
    """Plot F1, IoU, recall and false-positive rate against the threshold; the operating point as a dashed line."""
    canvas, axes = new_canvas(title, "threshold", "")
    shown = {
        "F1": curves.f1,
        "IoU": curves.iou,
        "recall of forged pictures": curves.forged_recall,
        "false-positive rate, authentic": curves.authentic_fpr,
    }
    for colour, (name, values) in zip(COLOURS, shown.items(), strict=False):
        axes.plot(curves.threshold[1:], values[1:], label=name, color=colour)
    if point is not None:
        label = f"chosen: {point.threshold:.3f}"
        axes.axvline(point.threshold, color="0.35", linestyle="--", linewidth=1, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return to_png(canvas, axes)


def area_plot(title: str, curves: Sequence[ThresholdCurves]) -> bytes:
    """Plot mean F1 against the false-positive rate on authentic pictures, one line a minimum area."""
    canvas, axes = new_canvas(title, "false-positive rate on authentic pictures", "F1")
    for number, curve in enumerate(curves):
        colour = matplotlib.colormaps["viridis"](number / max(1, len(curves) - 1))
        label = f"area ≥ {100 * curve.min_area_fraction:g} %"
        axes.plot(curve.authentic_fpr[1:], curve.f1[1:], label=label, color=colour, linewidth=1.2)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    return to_png(canvas, axes)


def pixel_reliability_plot(title: str, statistics: Mapping[str, PixelStatistics]) -> bytes:
    """Plot the share of forged pixels against the predicted probability, in 16 bins, by name."""
    middle = (np.arange(RELIABILITY_BINS) + 0.5) / RELIABILITY_BINS
    points = {}
    for name, one in statistics.items():
        positive, total = (
            counts.reshape(RELIABILITY_BINS, BINS // RELIABILITY_BINS).sum(axis=1) for counts in reliability(one)
        )
        points[name] = (middle, ratio(positive, total))
    return reliability_plot(title, "a pixel", "forged", points)
