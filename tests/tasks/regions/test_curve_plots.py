import io

import numpy as np
import pytest
from PIL import Image

from bundle.regions.verdict import OperatingPoint
from tasks.regions import curve_plots
from tasks.regions.curves import threshold_curves


@pytest.fixture(scope="module")
def statistics(collect, random_pictures):
    return collect(random_pictures(1, 10))


def _ink(png: bytes) -> int:
    """Number of distinct colours: an empty plot has few."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_every_plot_is_a_png_with_its_curves(statistics):
    curves = threshold_curves(statistics, [0.0, 0.1])
    drawn = [
        curve_plots.threshold_plot("t", curves[0], OperatingPoint(threshold=0.4, min_area_fraction=0.0)),
        curve_plots.area_plot("t", curves),
        curve_plots.pixel_reliability_plot("t", {"v3": statistics}),
    ]
    assert all(_ink(png) > 50 for png in drawn)


def test_curves_that_are_not_defined_do_not_stop_a_plot(collect):
    curve = threshold_curves(collect([(0, np.zeros((2, 2), bool), np.zeros((2, 2)))]), [0.0])[0]
    assert curve_plots.threshold_plot("t", curve).startswith(b"\x89PNG")
