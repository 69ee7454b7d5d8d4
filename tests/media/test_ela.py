import numpy as np
import pytest
from skimage import data

from core.errors import BadInputError
from media.ela import ElaSpec, error_level, recompress
from media.pixel_view import planes


@pytest.fixture(scope="module")
def astronaut():
    return np.ascontiguousarray(data.astronaut()[:256, :320])


def test_error_levels_are_the_amplified_difference_to_the_recompressed_picture(astronaut):
    spec = ElaSpec(quality=80, scale=4.0)
    difference = np.abs(astronaut.astype(int) - recompress(astronaut, 80))
    np.testing.assert_array_equal(error_level(astronaut, spec), np.clip(difference * 4, 0, 255))


def test_amplification_saturates_and_rounds(astronaut):
    assert error_level(astronaut, ElaSpec(quality=1, scale=1000.0)).max() == 255
    half = error_level(astronaut, ElaSpec(quality=50, scale=0.5))
    assert half.max() <= np.ceil(error_level(astronaut, ElaSpec(quality=50, scale=1.0)).max() / 2)


def test_channels_are_compressed_in_their_right_order():
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[..., 0] = 255
    np.testing.assert_allclose(recompress(red, 95).astype(int), red, atol=2)


def test_what_was_compressed_already_loses_less_than_what_was_not(astronaut):
    spec = ElaSpec(quality=90)
    mixed = recompress(astronaut, 90)
    noise = np.random.default_rng(0).integers(-12, 13, (64, 64, 3))
    mixed[64:128, 64:128] = np.clip(astronaut[64:128, 64:128] + noise, 0, 255)
    level = error_level(mixed, spec).astype(float)
    assert level[64:128, 64:128].mean() > 3 * level[128:, 128:].mean()


def test_a_picture_larger_than_a_jpeg_is_refused():
    with pytest.raises(BadInputError, match="65500") as caught:
        recompress(np.zeros((1, 65_501, 3), dtype=np.uint8), 90)
    assert caught.value.reason == "too-large"


def test_with_error_levels_the_planes_are_stacked_behind_the_colours(astronaut):
    stacked = planes(astronaut, ElaSpec(quality=75))
    assert stacked.shape == (*astronaut.shape[:2], 6)
    assert stacked.dtype == np.uint8
    np.testing.assert_array_equal(stacked[..., :3], astronaut)
    np.testing.assert_array_equal(stacked[..., 3:], error_level(astronaut, ElaSpec(quality=75)))
