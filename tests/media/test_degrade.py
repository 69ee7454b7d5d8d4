import numpy as np
import pytest
from skimage import data

from core.errors import SettingsError
from media.degrade import DEGRADATIONS, degradation


@pytest.fixture(scope="module")
def coffee():
    return np.ascontiguousarray(data.coffee()[:201, :301])


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degradation_changes_pixels_and_keeps_all_else(name, coffee):
    before = coffee.copy()
    degraded = degradation(name)(coffee)
    assert degraded.shape == coffee.shape
    assert degraded.dtype == np.uint8
    assert (degraded != coffee).any()
    np.testing.assert_array_equal(coffee, before)
    np.testing.assert_array_equal(degradation(name)(coffee.copy()), degraded)


def _loss(name, rgb):
    return np.abs(degradation(name)(rgb).astype(float) - rgb).mean()


def test_stronger_compression_loses_more(coffee):
    assert 0 < _loss("jpeg90", coffee) < _loss("jpeg70", coffee) < _loss("jpeg50", coffee)


def test_noise_has_the_deviation_it_says_and_differs_between_pictures():
    grey = np.full((128, 128, 3), 128, dtype=np.uint8)
    noise = degradation("noise")(grey).astype(float) - 128
    assert noise.std() == pytest.approx(5, rel=0.03)
    assert abs(noise.mean()) < 0.1
    other = degradation("noise")(grey + 1).astype(float) - 129
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_nothing_moves_so_a_mask_stays_valid(name):
    picture = np.zeros((101, 151, 3), dtype=np.uint8)
    picture[30:70, 50:100] = 255
    degraded = degradation(name)(picture).mean(axis=2) > 127
    np.testing.assert_allclose(np.argwhere(degraded).mean(axis=0), [49.5, 74.5], atol=0.1)
    assert (degraded != (picture[..., 0] > 127)).mean() < 0.005


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'jpeg90'"):
        degradation("jpg90")
