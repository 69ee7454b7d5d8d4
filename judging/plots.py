"""Curves for reports, drawn by matplotlib without a display, as PNG."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from data.labels import is_manipulated

COLOURS = tuple(matplotlib.color_sequences["tab10"])
RELIABILITY_BINS = 16
SIZE = (5.2, 3.6)  # inches
DPI = 110

Vector = NDArray[np.float64]


def new_canvas(title: str, x: str, y: str) -> tuple[Canvas, Axes]:
    """Return a canvas and its axes in the reports' style; ``x`` and ``y`` are their labels."""
    canvas = Canvas(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = canvas.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return canvas, axes


def to_png(canvas: Canvas, axes: Axes) -> bytes:
    """Draw a canvas, with a legend where something on it has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    stream = io.BytesIO()
    canvas.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


# Class labels [N] and scores 0..1 [N], by name.
Scored = Mapping[str, tuple[NDArray[Any], Vector]]


def roc_plot(title: str, scores: Scored) -> bytes:
    """Plot the ROC of (labels, scores) by name; both classes must be there."""
    canvas, axes = new_canvas(title, "false-positive rate", "true-positive rate")
    for colour, (name, (labels, values)) in zip(COLOURS, scores.items(), strict=False):
        fpr, tpr, _ = roc_curve(is_manipulated(labels), values)
        axes.plot(fpr, tpr, label=name, color=colour)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    return to_png(canvas, axes)


def precision_recall_plot(title: str, scores: Scored) -> bytes:
    """Plot precision against recall of (labels, scores) by name; both classes must be there."""
    canvas, axes = new_canvas(title, "recall", "precision")
    for colour, (name, (labels, values)) in zip(COLOURS, scores.items(), strict=False):
        precision, recall, _ = precision_recall_curve(is_manipulated(labels), values)
        axes.step(recall, precision, where="post", label=name, color=colour)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    return to_png(canvas, axes)


def reliability_plot(title: str, unit: str, kind: str, points: Mapping[str, tuple[Vector, Vector]]) -> bytes:
    """Plot how often what was given a probability is so.

    Args:
        title: of the plot.
        unit: what has a probability, such as ``a pixel``.
        kind: what it may be, such as ``forged``.
        points: predicted probabilities [n] and the shares that are so [n], by name.
    """
    canvas, axes = new_canvas(title, f"predicted probability of {unit}", f"share that is {kind}")
    for colour, (name, (predicted, share)) in zip(COLOURS, points.items(), strict=False):
        axes.plot(predicted, share, marker="o", markersize=3, label=name, color=colour)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return to_png(canvas, axes)


def score_reliability(labels: NDArray[Any], scores: Vector) -> tuple[Vector, Vector]:
    """Return the mean score and the share that is manipulated in each of 16 equal bins of the score that has some.

    Args:
        labels: of the classes, 0 authentic, [N].
        scores: 0..1, [N].
    """
    place = np.minimum((scores * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    total, positive, summed = (
        np.bincount(place, weights=weights, minlength=RELIABILITY_BINS)
        for weights in (None, is_manipulated(labels), scores)
    )
    filled = total > 0
    return summed[filled] / total[filled], positive[filled] / total[filled]


def robustness_plot(title: str, figure: str, values: Mapping[str, Mapping[str, float | None]]) -> bytes:
    """Plot one figure under each degradation, by name; a figure that is not defined leaves a gap."""
    canvas, axes = new_canvas(title, "", figure)
    for colour, (name, by_degradation) in zip(COLOURS, values.items(), strict=False):
        heights = [np.nan if value is None else value for value in by_degradation.values()]
        axes.plot(list(by_degradation), heights, marker="o", markersize=4, label=name, color=colour)
    axes.set_ylim(0, 1.02)
    return to_png(canvas, axes)
