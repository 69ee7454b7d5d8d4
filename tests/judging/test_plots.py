import io

import numpy as np
import pytest
from PIL import Image

from bundle.regions.verdict import OperatingPoint
from judging import plots
from judging.curves import threshold_curves


@pytest.fixture(scope="module")
def statistics(collect, random_pictures):
    return collect(random_pictures(1, 10))


def _ink(png: bytes) -> int:
    """Number of distinct colours: an empty plot has few."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_every_plot_is_a_png_with_its_curves(statistics):
    curves = threshold_curves(statistics, [0.0, 0.1])
    scores = {"v3": (statistics.label, statistics.image_scores(0.0))}
    drawn = [
        plots.threshold_plot("t", curves[0], OperatingPoint(threshold=0.4, min_area_fraction=0.0)),
        plots.area_plot("t", curves),
        plots.roc_plot("t", scores),
        plots.precision_recall_plot("t", scores),
        plots.reliability_plot("t", {"v3": statistics}),
        plots.robustness_plot("t", "F1", {"v3": {"as is": 0.5, "jpeg50": None, "blur": 0.2}}),
    ]
    assert all(_ink(png) > 50 for png in drawn)


def test_plots_are_the_same_bytes_every_time(statistics):
    curve = threshold_curves(statistics, [0.0])[0]
    assert plots.threshold_plot("t", curve) == plots.threshold_plot("t", curve)


def test_curves_that_are_not_defined_do_not_stop_a_plot(collect):
    curve = threshold_curves(collect([(0, np.zeros((2, 2), bool), np.zeros((2, 2)))]), [0.0])[0]
    assert plots.threshold_plot("t", curve).startswith(b"\x89PNG")
