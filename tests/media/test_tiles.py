from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import SettingsError
from media.tiles import blend, cut, pad_to, plan

sides = st.integers(1, 150)
grids = st.integers(4, 48).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


@given(sides, sides, grids)
@settings(max_examples=150, deadline=None)
def test_every_pixel_lies_in_a_tile_and_every_tile_inside_the_padded_picture(height, width, grid):
    size, overlap = grid
    layout = plan(height, width, size, overlap)
    covered = np.zeros((max(height, size), max(width, size)), dtype=int)
    for top, left in layout.corners:
        assert top >= 0
        assert left >= 0
        covered[top : top + size, left : left + size] += 1
    assert covered.min() >= 1
    assert covered.sum() == len(layout) * size * size


@given(sides, grids)
@settings(max_examples=300, deadline=None)
def test_neighbours_overlap_as_asked_with_as_few_tiles_as_that_takes(length, grid):
    size, overlap = grid
    tops = plan(length, 1, size, overlap).tops
    assert all(0 < b - a <= size - overlap for a, b in pairwise(tops))
    assert tops[-1] == max(0, length - size)
    # One tile less, each as far from the last as the overlap lets it, would not reach the end.
    assert len(tops) == 1 or (len(tops) - 2) * (size - overlap) + size < length


@given(sides, sides, grids, st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_blending_what_is_a_function_of_position_gives_it_back(height, width, grid, seed):
    size, overlap = grid
    layout = plan(height, width, size, overlap)
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 2), dtype=np.uint8)
    tiles = cut(picture, layout)
    assert tiles.shape == (len(layout), size, size, 2)
    for channel in range(2):
        blended = blend((tiles[..., channel] / 255).astype(np.float32), layout)
        assert blended.dtype == np.float32
        # float32 sums of up to 225 tiles a pixel
        np.testing.assert_allclose(blended, picture[..., channel] / 255, atol=1e-5)


@pytest.mark.parametrize("length", [97, 100, 130, 159, 160, 161])
def test_tiles_that_disagree_are_joined_without_a_seam(length):
    size, overlap = 64, 16
    layout = plan(length, size, size, overlap)
    values = np.stack([np.full((size, size), n % 2, dtype=np.float32) for n in range(len(layout))])
    profile = blend(values, layout)[:, 0]
    assert profile.min() < 0.01
    assert profile.max() > 0.99
    # sin² rises by at most π/2 divided by its length; where three tiles meet, by less than twice that.
    assert np.abs(np.diff(profile)).max() <= 2 * np.pi / 2 / overlap


def test_a_tile_weighs_most_where_it_is_alone_and_least_at_its_edge():
    layout = plan(64, 112, 64, 16)
    left, right = np.zeros((2, 64, 64), dtype=np.float32), np.zeros((2, 64, 64), dtype=np.float32)
    left[0], right[1] = 1, 1
    weight = blend(left, layout)[0]
    np.testing.assert_allclose(weight + blend(right, layout)[0], 1, atol=1e-6)
    assert (weight[:48] == 1).all()
    assert (np.diff(weight[47:65]) < 0).all()
    assert (weight[64:] == 0).all()


def test_a_short_side_is_mirrored_as_often_as_it_takes():
    row = np.array([[1, 2, 3]], dtype=np.uint8)
    assert pad_to(row, 10)[0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2, 1, 2]
    assert (pad_to(row, 10) == pad_to(row, 10)[0]).all()


def test_a_picture_of_one_pixel_fills_its_tile():
    tiles = cut(np.full((1, 1, 6), 7, dtype=np.uint8), plan(1, 1, 32, 8))
    assert tiles.shape == (1, 32, 32, 6)
    assert (tiles == 7).all()


def test_what_is_large_enough_is_not_copied():
    planes = np.zeros((40, 32, 3), dtype=np.uint8)
    assert pad_to(planes, 32) is planes


def test_tiles_are_a_copy():
    planes = np.zeros((32, 32, 3), dtype=np.uint8)
    cut(planes, plan(32, 32, 32, 0))[:] = 1
    assert not planes.any()


@pytest.mark.parametrize(("overlap", "size"), [(32, 32), (40, 32), (-1, 32)])
def test_an_overlap_that_leaves_no_step_is_refused_by_value(overlap, size):
    with pytest.raises(SettingsError, match=f"overlap = {overlap}"):
        plan(100, 100, size, overlap)


def test_an_empty_picture_is_refused():
    with pytest.raises(SettingsError, match="0×10"):
        plan(10, 0, 32, 0)


def test_planes_and_values_must_fit_the_plan():
    layout = plan(40, 40, 32, 8)
    with pytest.raises(ValueError, match="40×40"):
        cut(np.zeros((40, 41, 3), dtype=np.uint8), layout)
    with pytest.raises(ValueError, match="4 tiles"):
        blend(np.zeros((3, 32, 32), dtype=np.float32), layout)
