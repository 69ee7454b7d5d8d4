import numpy as np
import pytest

from media.forging.filling import fill_from_surroundings, inpaint


def stripes(shape=(160, 200)):
    rng = np.random.default_rng(0)
    xs = np.arange(shape[1])
    wave = 120 + 60 * np.sign(np.sin(xs * 2 * np.pi / 20))
    rgb = np.repeat(wave[None, :, None], shape[0], axis=0) + rng.normal(0, 4, (*shape, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def with_object(rgb):
    hole = np.zeros(rgb.shape[:2], bool)
    hole[60:100, 80:125] = True
    marked = rgb.copy()
    marked[hole] = (255, 0, 255)
    return marked, hole


@pytest.mark.parametrize("method", ["telea", "navier-stokes", "patches"])
def test_the_object_is_gone_and_the_rest_is_untouched(method):
    marked, hole = with_object(stripes())
    filled = (
        fill_from_surroundings(marked, hole, np.random.default_rng(0))
        if method == "patches"
        else inpaint(marked, hole, method)
    )
    assert np.array_equal(filled[~hole], marked[~hole])
    purple = (filled[..., 0].astype(int) - filled[..., 1]) > 100
    assert not purple[hole].any()


def test_patches_continue_the_pattern_and_its_noise():
    original = stripes()
    marked, hole = with_object(original)
    error = []
    for seed in range(4):
        filled = fill_from_surroundings(marked, hole, np.random.default_rng(seed))
        error.append(np.abs(filled[hole].astype(int) - original[hole]).mean())
    smooth = np.abs(inpaint(marked, hole, "telea")[hole].astype(int) - original[hole]).mean()
    assert np.median(error) < 15 < smooth


def test_there_is_no_filling_where_nothing_else_is_left():
    rgb = stripes()
    hole = np.ones(rgb.shape[:2], bool)
    hole[:3] = False
    assert fill_from_surroundings(rgb, hole, np.random.default_rng(0)) is None
