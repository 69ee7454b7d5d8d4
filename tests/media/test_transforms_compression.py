from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage import data

from media.ela import recompress
from media.transforms_compression import h264_intra, shifted_jpeg


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(data.astronaut()[50:210, 145:305])


def _error(rgb, other):
    return float(np.abs(rgb.astype(int) - other).mean())


def _steps_at(rgb, column):
    """Mean jump between the columns before and at a multiple of 8 plus ``column``."""
    jumps = np.abs(np.diff(rgb.astype(int), axis=1)).mean(axis=(0, 2))
    return jumps[column + 7 :: 8].mean()


def test_an_unshifted_compression_is_the_plain_one(face):
    np.testing.assert_array_equal(shifted_jpeg(face, 60, (0, 0)), recompress(face, 60))


def test_the_grid_of_blocks_is_where_it_was_shifted_to():
    smooth = np.broadcast_to(np.linspace(60, 190, 160)[None, :, None], (160, 160, 3)).astype(np.uint8)
    noisy = np.clip(smooth + np.random.default_rng(0).integers(-20, 21, (160, 160, 3)), 0, 255).astype(np.uint8)
    # A grid that begins 3 px before the corner has its next borders 5 px after it.
    shifted, plain = shifted_jpeg(noisy, 10, (0, 3)), shifted_jpeg(noisy, 10, (0, 0))
    assert _steps_at(plain, 0) > 1.3 * _steps_at(plain, 5)
    assert _steps_at(shifted, 5) > 1.3 * _steps_at(shifted, 0)


@pytest.mark.parametrize("shape", [(1, 1), (31, 17), (160, 160), (64, 99)])
def test_sizes_stay(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for compressed in (h264_intra(rgb, 30), shifted_jpeg(rgb, 50, (7, 7) if min(shape) > 7 else (0, 0))):
        assert (compressed.shape, compressed.dtype) == (rgb.shape, np.uint8)
        assert compressed.flags.c_contiguous


def test_a_higher_rate_factor_loses_more_and_the_picture_stays_itself(face):
    errors = [_error(face, h264_intra(face, crf)) for crf in (18, 30, 42)]
    assert errors == sorted(errors)
    assert errors[0] < 4 and errors[2] < 14
    assert abs(h264_intra(face, 25).mean() - face.mean()) < 2


def test_video_is_coded_with_half_the_colour_resolution():
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 120, 120
    decoded = h264_intra(stripes, 10)
    assert np.abs(decoded[:, ::2].astype(int) - decoded[:, 1::2]).mean() < 50  # 80 where colour is kept


def test_video_is_the_same_in_many_threads(face):
    expected = h264_intra(face, 30)
    with ThreadPoolExecutor(4) as threads:
        for compressed in threads.map(lambda _: h264_intra(face, 30), range(24)):
            np.testing.assert_array_equal(compressed, expected)
