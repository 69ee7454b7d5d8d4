from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import BadInputError
from judging.calibration import (
    PixelSample,
    PixelSampler,
    calibrated,
    draw_pixels,
    fit_temperature,
    fit_weights,
    mixture_nll,
    mixture_weights,
    temperature_nll,
)
from judging.guard import SplitLeakError


def row(number: int, split: str = "val") -> dict[str, str]:
    return {"sample_id": f"s{number}", "group_id": f"g{number}", "split": split}


def drawn(logits: dict[str, NDArray[np.float64]], forged: NDArray[np.bool_]) -> PixelSample:
    size = len(forged)
    return PixelSample(logits, forged, np.full(size, 1 / size), (np.arange(size) % 2).astype(np.int8))


def truth(size: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return logits that are calibrated by construction, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-1, 2, size)
    return logit, generator.random(size) < 1 / (1 + np.exp(-logit))


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    share=st.floats(0, 1),
    count=st.integers(2, 300),
    seed=st.integers(0, 99),
)
def test_drawn_pixels_are_distinct_and_weigh_each_class_by_its_area(
    height: int, width: int, share: float, count: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((height, width)) < share
    where, weight = draw_pixels(mask, count, generator)
    assert len(where) == min(count, mask.size) == len(set(where))
    forged = mask.ravel()[where]
    assert weight[forged].sum() == pytest.approx(mask.mean(), abs=1e-9)
    assert weight.sum() == pytest.approx(1)


def test_a_small_forged_region_gets_half_of_the_sample_or_all_of_itself() -> None:
    mask = np.zeros((100, 100), bool)
    mask[:5, :5] = True
    where, _ = draw_pixels(mask, 40, np.random.default_rng(0))
    assert mask.ravel()[where].sum() == 20
    where, _ = draw_pixels(mask, 400, np.random.default_rng(0))
    assert mask.ravel()[where].sum() == 25


@pytest.mark.parametrize("stretch", [0.5, 1.0, 3.0])
def test_temperature_undoes_how_much_logits_were_stretched(stretch: float) -> None:
    logit, forged = truth(60_000, 1)
    assert fit_temperature(drawn({"a": stretch * logit}, forged), "a") == pytest.approx(stretch, rel=0.03)


def test_the_fitted_temperature_is_the_lowest_point_of_the_likelihood() -> None:
    logit, forged = truth(2_000, 2)
    sample = drawn({"a": 2 * logit}, forged)
    best = fit_temperature(sample, "a")
    losses = [temperature_nll(2 * logit, forged, sample.weight, t) for t in (best * 0.9, best, best * 1.1)]
    assert losses[1] == min(losses)


def test_likelihood_of_huge_logits_is_finite() -> None:
    logit = np.array([900.0, -900.0])
    assert temperature_nll(logit, np.array([True, False]), np.ones(2), 0.05) == 0
    assert np.isfinite(temperature_nll(logit, np.array([False, True]), np.ones(2), 0.05))
    assert calibrated(logit, 0.05).tolist() == [1, 0]


def test_expectation_maximisation_finds_the_weights_that_a_grid_finds() -> None:
    generator = np.random.default_rng(3)
    forged = generator.random(4_000) < 0.4
    good, fair = (calibrated(np.where(forged, 1, -1) + generator.normal(0, noise, 4_000), 1.0) for noise in (1, 2))
    likelihood = np.stack([np.where(forged, p, 1 - p) for p in (good, fair)])
    weight = np.full(4_000, 1.0)
    grid = np.linspace(0, 1, 201)
    losses = [mixture_nll(likelihood, weight, np.array([w, 1 - w])) for w in grid]
    found = mixture_weights(likelihood, weight)
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(grid[int(np.argmin(losses))], abs=0.01)


def test_a_member_that_knows_outweighs_one_that_guesses() -> None:
    logit, forged = truth(8_000, 4)
    noise = np.random.default_rng(5).normal(0, 2, 8_000)
    fitted = fit_weights(drawn({"knows": logit, "guesses": noise}, forged), {"knows": 1.0, "guesses": 1.0})
    assert fitted.fitted
    assert fitted.weights["knows"] > 0.95
    assert sum(fitted.weights.values()) == pytest.approx(1, abs=1e-9)


def test_equal_weights_are_kept_where_others_do_not_help_on_held_out_groups() -> None:
    logit, forged = truth(2_000, 6)
    fitted = fit_weights(drawn({"a": logit, "b": logit.copy()}, forged), {"a": 1.0, "b": 1.0})
    assert not fitted.fitted
    assert fitted.weights == {"a": 0.5, "b": 0.5}
    assert fitted.note.startswith("equal")


def test_weights_that_only_fit_the_half_they_were_fitted_on_are_not_taken() -> None:
    generator = np.random.default_rng(7)
    forged = generator.random(4_000) < 0.5
    fold = (np.arange(4_000) % 2).astype(np.int8)
    clear = np.where(forged, 3.0, -3.0)
    # Each member is right on one half of the groups and wrong on the other.
    logits = {"a": np.where(fold == 0, clear, -clear), "b": np.where(fold == 1, clear, -clear)}
    sample = PixelSample(logits, forged, np.full(4_000, 1.0), fold)
    assert not fit_weights(sample, {"a": 1.0, "b": 1.0}).fitted


def test_one_group_cannot_tell_whether_weights_help() -> None:
    logit, forged = truth(500, 8)
    sample = PixelSample({"a": logit, "b": -logit}, forged, np.ones(500), np.zeros(500, np.int8))
    assert fit_weights(sample, {"a": 1.0, "b": 1.0}).weights == {"a": 0.5, "b": 0.5}


def test_the_weight_of_a_lone_member_is_one() -> None:
    logit, forged = truth(50, 9)
    assert fit_weights(drawn({"a": logit}, forged), {"a": 1.0}).weights == {"a": 1.0}


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_of_another_split_are_refused(split: str) -> None:
    sampler = PixelSampler(10, seed=0)
    with pytest.raises(SplitLeakError, match=f"1 of {split}"):
        sampler.add(row(0, split), np.zeros((4, 4), bool), {"a": np.zeros((4, 4), np.float32)})


@pytest.mark.parametrize(("value", "lacking"), [(False, "no forged pixels"), (True, "no authentic pixels")])
def test_a_sample_of_one_class_is_refused(value: bool, lacking: str) -> None:
    sampler = PixelSampler(10, seed=0)
    sampler.add(row(0), np.full((4, 4), value), {"a": np.zeros((4, 4), np.float32)})
    with pytest.raises(BadInputError, match=lacking):
        sampler.build()


def test_an_empty_val_split_is_refused() -> None:
    with pytest.raises(BadInputError, match="no forged pixels"):
        PixelSampler(10, seed=0).build()


def test_what_is_drawn_depends_on_seed_and_picture_but_not_on_the_order() -> None:
    generator = np.random.default_rng(0)
    pictures = [(row(n), generator.random((30, 30)) < 0.3, generator.random((30, 30), np.float32)) for n in range(4)]

    def draw(order: list[int], seed: int) -> list[list[float]]:
        sampler = PixelSampler(20, seed)
        for number in order:
            name, mask, logit = pictures[number]
            sampler.add(name, mask, {"a": logit})
        sample = sampler.build()
        parts = np.split(sample.logit["a"], len(order))
        return [parts[order.index(number)].tolist() for number in range(len(order))]

    assert draw([0, 1, 2, 3], 5) == draw([3, 1, 0, 2], 5)
    assert draw([0, 1, 2, 3], 5) != draw([0, 1, 2, 3], 6)
    assert all(a != b for a, b in pairwise(draw([0, 1, 2, 3], 5)))


def test_members_are_sampled_at_the_same_pixels_and_no_more_than_asked_for() -> None:
    mask = np.random.default_rng(1).random((200, 300)) < 0.2
    place = np.arange(mask.size, dtype=np.float32).reshape(mask.shape)
    sampler = PixelSampler(64, seed=0)
    sampler.add(row(0), mask, {"a": place, "b": -place})
    sample = sampler.build()
    assert len(sample.forged) == 64
    assert (sample.logit["a"] == -sample.logit["b"]).all()
    assert (mask.ravel()[sample.logit["a"].astype(int)] == sample.forged).all()


def test_pictures_of_one_group_are_never_in_both_halves() -> None:
    sampler = PixelSampler(8, seed=0)
    mask = np.eye(6, dtype=bool)
    for number in range(12):
        sampler.add(row(number) | {"group_id": f"g{number // 4}"}, mask, {"a": mask.astype(np.float32)})
    folds = np.split(sampler.build().fold, 3)
    assert all(len(set(fold.tolist())) == 1 for fold in folds)
