import numpy as np
import pytest
from skimage import data

from media.selfblend import differences
from media.selfblend.differences import Differences, draw_differences
from media.selfblend.placing import Place, place_of
from media.view import StoredSample


def place(rgb) -> Place:
    return place_of(StoredSample(rgb), margin=1.3)


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(data.astronaut()[50:178, 160:288])


@pytest.mark.parametrize("kind", [*differences._COLOURS, *differences._FREQUENCIES], ids=lambda kind: kind.__name__)
def test_every_change_is_visible_and_leaves_a_face(face, kind):
    for seed in range(20):
        changed = kind(np.random.default_rng(seed))(face, place(face))
        assert (changed.shape, changed.dtype) == (face.shape, np.uint8)
        difference = np.abs(changed.astype(int) - face).mean()
        assert 0.2 < difference < 25


def test_colours_change_the_mean_and_frequencies_only_the_detail(face):
    for seed in range(20):
        for kind in (differences._downscale, differences._blur, differences._compress):
            changed = kind(np.random.default_rng(seed))(face, place(face))
            assert np.abs(changed.mean(axis=(0, 1)) - face.mean(axis=(0, 1))).max() < 2
        shifted = differences._rgb_shift(np.random.default_rng(seed))(face, place(face))
        assert np.abs(shifted.mean(axis=(0, 1)) - face.mean(axis=(0, 1))).max() > 2


def test_a_sharpened_face_has_more_detail_and_a_blurred_one_less(face):
    def detail(rgb):
        return np.abs(np.diff(rgb.astype(int), axis=1)).mean()

    sharp, soft = (
        kind(np.random.default_rng(1))(face, place(face)) for kind in (differences._sharpen, differences._blur)
    )
    assert detail(soft) < detail(face) < detail(sharp)


def test_something_always_differs(face):
    for seed in range(100):
        drawn = draw_differences(np.random.default_rng(seed))
        assert drawn.changes
        assert (drawn.change(face, place(face)) != face).any()


def test_moving_is_by_the_share_of_the_side(face):
    moved = Differences((), translation=(4 / 128, -2 / 128), scaling=(1.0, 1.0)).move(face, place(face))
    np.testing.assert_array_equal(moved[:-2, 4:], face[2:, :-4])


def test_scaling_keeps_the_middle(face):
    canvas = np.zeros((101, 101, 3), dtype=np.uint8)
    canvas[30:71, 30:71] = 255
    scaled = Differences((), translation=(0.0, 0.0), scaling=(1.05, 0.95)).move(canvas, place(canvas))
    rows, columns = np.nonzero(scaled[..., 0] > 127)
    assert (rows.min() + rows.max(), columns.min() + columns.max()) == (100, 100)
    assert np.ptp(columns) + 1 == pytest.approx(41 * 1.05, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(41 * 0.95, abs=1)
