import io

import numpy as np
import pytest
from PIL import Image

from judging import plots

LABELS = np.array([0, 1, 0, 2, 1])
SCORES = np.array([0.1, 0.7, 0.4, 0.9, 0.3])


def _ink(png: bytes) -> int:
    """Number of distinct colours: an empty plot has few."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_every_plot_is_a_png_with_its_curves():
    scores = {"v3": (LABELS, SCORES)}
    drawn = [
        plots.roc_plot("t", scores),
        plots.precision_recall_plot("t", scores),
        plots.reliability_plot("t", "a medium", "manipulated", {"v3": plots.score_reliability(LABELS, SCORES)}),
        plots.robustness_plot("t", "F1", {"v3": {"as is": 0.5, "jpeg50": None, "blur": 0.2}}),
    ]
    assert all(_ink(png) > 50 for png in drawn)


def test_plots_are_the_same_bytes_every_time():
    scores = {"v3": (LABELS, SCORES)}
    assert plots.roc_plot("t", scores) == plots.roc_plot("t", scores)


def test_reliability_is_the_share_manipulated_among_equal_scores():
    predicted, share = plots.score_reliability(np.array([0, 1, 1, 1]), np.array([0.50, 0.52, 0.90, 1.0]))
    assert predicted == pytest.approx([0.51, 0.90, 1.0])
    assert share == pytest.approx([0.5, 1, 1])
