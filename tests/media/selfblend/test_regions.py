import numpy as np
import pytest

from media.selfblend.placing import Place
from media.selfblend.regions import Region, draw_region, render_region

SQUARE = np.array([[-0.25, -0.25], [0.25, -0.25], [0.25, 0.25], [-0.25, 0.25]])


def place(height: int, width: int, margin: float) -> Place:
    return Place(((width - 1) / 2, (height - 1) / 2), max(height, width) / margin, width, height)


@pytest.mark.parametrize(("height", "width"), [(200, 200), (200, 120), (99, 201)])
@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_a_region_is_drawn_in_the_middle_and_as_large_as_the_margin_says(height, width, margin):
    weight = render_region(Region(SQUARE, softness=0.001), height, width, place(height, width, margin))
    rows, columns = np.nonzero(weight >= 0.5)
    side = max(height, width) / margin / 2
    assert np.ptp(rows) + 1 == pytest.approx(min(side, height), abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(min(side, width), abs=2)
    assert rows.mean() == pytest.approx((height - 1) / 2, abs=0.6)
    assert columns.mean() == pytest.approx((width - 1) / 2, abs=0.6)


def test_the_edge_is_as_soft_as_asked_and_the_inside_whole():
    hard, soft = (render_region(Region(SQUARE, softness), 200, 200, place(200, 200, 1.0)) for softness in (0.002, 0.05))
    assert hard.dtype == np.float32
    assert hard.max() == soft.max() == 1.0
    assert hard.min() == soft.min() == 0.0
    blurred = [((weight > 0.05) & (weight < 0.95)).sum() for weight in (hard, soft)]
    assert blurred[1] > 5 * blurred[0]
    assert ((hard >= 0.5) == (soft >= 0.5)).mean() > 0.99


def test_regions_are_parts_of_the_face_of_many_forms():
    regions = [draw_region(np.random.default_rng(seed)) for seed in range(300)]
    heights = np.array([np.ptp(region.outline[:, 1]) for region in regions])
    assert (heights < 0.5).any() and (heights > 0.8).any()
    assert np.abs(np.concatenate([region.outline for region in regions])).max() < 0.7
    angular = np.mean([len(region.outline) < 20 for region in regions])
    assert 0.2 < angular < 0.4
