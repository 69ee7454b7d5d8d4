"""Curves for reports, drawn by matplotlib without a display, as PNG."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from bundle.regions.verdict import OperatingPoint
from judging.curves import ThresholdCurves
from judging.metrics import reliability
from judging.statistics import BINS, PixelStatistics, ratio

COLOURS = tuple(matplotlib.color_sequences["tab10"])
RELIABILITY_BINS = 16
SIZE = (5.2, 3.6)  # inches
DPI = 110


def _canvas(title: str, x: str, y: str) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = canvas.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def _png(canvas: Canvas, axes: Axes) -> bytes:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    stream = io.BytesIO()
    canvas.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def threshold_plot(title: str, curves: ThresholdCurves, point: OperatingPoint | None = None) -> bytes:
    """Plot F1, IoU, recall and false-positive rate against the threshold; the operating point as a dashed line."""
    canvas, axes = _canvas(title, "threshold", "")
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
    return _png(canvas, axes)


def area_plot(title: str, curves: Sequence[ThresholdCurves]) -> bytes:
    """Plot mean F1 against the false-positive rate on authentic pictures, one line a minimum area."""
    canvas, axes = _canvas(title, "false-positive rate on authentic pictures", "F1")
    for number, curve in enumerate(curves):
        colour = matplotlib.colormaps["viridis"](number / max(1, len(curves) - 1))
        label = f"area ≥ {100 * curve.min_area_fraction:g} %"
        axes.plot(curve.authentic_fpr[1:], curve.f1[1:], label=label, color=colour, linewidth=1.2)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    return _png(canvas, axes)


def roc_plot(title: str, scores: Mapping[str, tuple[NDArray[np.int8], NDArray[np.float64]]]) -> bytes:
    """Plot the ROC of (labels, image scores) by name; both classes must be there."""
    canvas, axes = _canvas(title, "false-positive rate", "true-positive rate")
    for colour, (name, (labels, values)) in zip(COLOURS, scores.items(), strict=False):
        fpr, tpr, _ = roc_curve(labels, values)
        axes.plot(fpr, tpr, label=name, color=colour)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    return _png(canvas, axes)


def precision_recall_plot(title: str, scores: Mapping[str, tuple[NDArray[np.int8], NDArray[np.float64]]]) -> bytes:
    """Plot precision against recall of (labels, image scores) by name; both classes must be there."""
    canvas, axes = _canvas(title, "recall", "precision")
    for colour, (name, (labels, values)) in zip(COLOURS, scores.items(), strict=False):
        precision, recall, _ = precision_recall_curve(labels, values)
        axes.step(recall, precision, where="post", label=name, color=colour)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    return _png(canvas, axes)


def reliability_plot(title: str, statistics: Mapping[str, PixelStatistics]) -> bytes:
    """Plot the share of forged pixels against the predicted probability, in 16 bins, by name."""
    canvas, axes = _canvas(title, "predicted probability of a pixel", "share that is forged")
    middle = (np.arange(RELIABILITY_BINS) + 0.5) / RELIABILITY_BINS
    for colour, (name, one) in zip(COLOURS, statistics.items(), strict=False):
        positive, total = (
            counts.reshape(RELIABILITY_BINS, BINS // RELIABILITY_BINS).sum(axis=1) for counts in reliability(one)
        )
        axes.plot(middle, ratio(positive, total), marker="o", markersize=3, label=name, color=colour)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return _png(canvas, axes)


def score_reliability_plot(title: str, scores: Mapping[str, tuple[NDArray[np.int8], NDArray[np.float64]]]) -> bytes:
    """Plot the share of manipulated media against their scores, in 16 bins, of (labels, scores) by name."""
    canvas, axes = _canvas(title, "predicted probability of a medium", "share that is manipulated")
    for colour, (name, (labels, values)) in zip(COLOURS, scores.items(), strict=False):
        place = np.minimum((values * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
        total, positive, summed = (
            np.bincount(place, weights=weights, minlength=RELIABILITY_BINS) for weights in (None, labels == 1, values)
        )
        filled = total > 0
        mean, share = summed[filled] / total[filled], positive[filled] / total[filled]
        axes.plot(mean, share, marker="o", markersize=3, label=name, color=colour)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return _png(canvas, axes)


def robustness_plot(title: str, figure: str, values: Mapping[str, Mapping[str, float | None]]) -> bytes:
    """Plot one figure under each degradation, by name; a figure that is not defined leaves a gap."""
    canvas, axes = _canvas(title, "", figure)
    for colour, (name, by_degradation) in zip(COLOURS, values.items(), strict=False):
        heights = [np.nan if value is None else value for value in by_degradation.values()]
        axes.plot(list(by_degradation), heights, marker="o", markersize=4, label=name, color=colour)
    axes.set_ylim(0, 1.02)
    return _png(canvas, axes)
