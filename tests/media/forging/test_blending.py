import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.forging.blending import (
    blur_seam,
    compose,
    grown,
    heal_seam,
    match_colours,
    match_noise,
    noise_level,
    ring,
    soft_edge,
    visible_difference,
)


def square(shape=(80, 100)):
    mask = np.zeros(shape, bool)
    mask[20:60, 30:70] = True
    return mask


def noisy(level, sigma, shape=(80, 100), seed=0):
    values = np.random.default_rng(seed).normal(level, sigma, (*shape, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@settings(max_examples=15, deadline=None)
@given(sigma=st.floats(0, 5))
def test_soft_edges_end_within_three_sigma_and_keep_the_half_way_line(sigma):
    mask = square()
    alpha = soft_edge(mask, sigma)
    reach = max(1, int(np.ceil(3 * sigma))) if sigma > 0 else 0
    assert alpha.max() <= 1 + 1e-6
    assert not alpha[: 20 - reach].any()
    assert not alpha[:, : 30 - reach].any()
    assert np.array_equal((alpha > 0.5)[40], mask[40])


def test_compose_keeps_bytes_where_opacity_is_none_or_full():
    host, content = noisy(100, 20), noisy(180, 20, seed=1)
    alpha = square().astype(np.float32)
    alpha[:, 50] = 0.5
    mixed = compose(host, content, alpha)
    assert np.array_equal(mixed[alpha == 0], host[alpha == 0])
    assert np.array_equal(mixed[alpha == 1], content[alpha == 1])


@pytest.mark.parametrize("pixels", [-3, 0, 2])
def test_growing_moves_the_edge_by_as_many_pixels(pixels):
    mask = grown(square(), pixels)
    assert mask[40].sum() == 40 + 2 * pixels
    assert mask[:, 50].sum() == 40 + 2 * pixels


def test_a_ring_lies_around_and_not_on_the_mask():
    band = ring(square(), 4)
    assert band.any()
    assert not (band & square()).any()


@pytest.mark.parametrize("sigma", [2.0, 6.0, 12.0])
def test_noise_is_measured_and_not_confused_by_an_edge(sigma):
    picture = noisy(110, 0, (200, 200)).astype(float)
    picture[:, 100:] += 60
    grey = np.random.default_rng(3).normal(0, sigma, (200, 200, 1))
    measured = noise_level(np.clip(np.rint(picture + grey), 0, 255).astype(np.uint8), np.ones((200, 200), bool))
    assert abs(measured - sigma) < 0.2 * sigma
    assert noise_level(noisy(1, 1), np.zeros((80, 100), bool)) == 0


def test_noise_is_added_where_it_lacks_and_smoothed_where_there_is_too_much():
    everywhere = np.ones((80, 100), bool)
    rng = np.random.default_rng(0)
    clean = match_noise(noisy(120, 0), everywhere, 5.0, rng)
    assert noise_level(clean, everywhere) > 2
    loud = noisy(120, 10)
    assert noise_level(match_noise(loud, everywhere, 1.0, rng), everywhere) < noise_level(loud, everywhere)


def test_colours_move_towards_the_surroundings_by_the_given_strength():
    content, host = noisy((180, 90, 60), 8), noisy((60, 90, 160), 8, seed=1)
    mask = square()
    around = ring(mask, 8)

    def distance(strength):
        moved = match_colours(content, mask, host, around, strength)
        return np.linalg.norm(moved[mask].mean(axis=0) - host[around].mean(axis=0))

    assert distance(1.0) < 8
    assert distance(1.0) < distance(0.5) < distance(0.0)
    assert np.abs(match_colours(content, mask, host, around, 0.0).astype(int) - content).mean() < 2
    assert match_colours(content, mask, host, np.zeros_like(mask), 1.0) is content


def test_healing_levels_the_seam_and_keeps_the_texture():
    host, content = noisy(150, 3), noisy(90, 3, seed=1)
    mask = square()
    healed = heal_seam(content, mask, host)
    inner_rim = mask & ~grown(mask, -2)
    assert abs(healed[inner_rim].mean() - host[ring(mask, 2)].mean()) < 8
    assert abs(noise_level(healed, mask) - noise_level(content, mask)) < 1


def test_a_blurred_seam_touches_the_band_alone():
    picture, mask = noisy(120, 20), square()
    blurred = blur_seam(picture, mask, 1.5, 2)
    changed = (picture != blurred).any(axis=2)
    band = grown(mask, 4) & ~grown(mask, -5)
    assert changed.any()
    assert not (changed & ~band).any()


def test_difference_is_that_inside_the_mask():
    before, mask = noisy(120, 0), square()
    after = before.copy()
    after[mask] += 30
    assert 25 < visible_difference(before, after, mask) <= 30
    assert visible_difference(before, after, ~grown(mask, 2)) == 0
    assert visible_difference(before, after, np.zeros_like(mask)) == 0
