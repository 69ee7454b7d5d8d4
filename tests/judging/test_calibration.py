import numpy as np
import pytest
from numpy.typing import NDArray

from judging.calibration import (
    CalibrationSample,
    calibrated,
    fit_temperature,
    fit_weights,
    mixture_nll,
    mixture_weights,
    temperature_nll,
)


def drawn(logits: dict[str, NDArray[np.float64]], forged: NDArray[np.bool_]) -> CalibrationSample:
    size = len(forged)
    return CalibrationSample(logits, forged, np.full(size, 1 / size), (np.arange(size) % 2).astype(np.int8))


def truth(size: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return logits that are calibrated by construction, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-1, 2, size)
    return logit, generator.random(size) < 1 / (1 + np.exp(-logit))


@pytest.mark.parametrize("stretch", [0.5, 1.0, 3.0])
def test_temperature_undoes_how_much_logits_were_stretched(stretch: float) -> None:
    logit, forged = truth(60_000, 1)
    assert fit_temperature(drawn({"a": stretch * logit}, forged), "a") == pytest.approx(stretch, rel=0.03)


def test_the_fitted_temperature_is_the_lowest_point_of_the_likelihood() -> None:
    logit, forged = truth(2_000, 2)
    sample = drawn({"a": 2 * logit}, forged)
    best = fit_temperature(sample, "a")
    losses = [temperature_nll(2 * logit, forged, sample.weights, t) for t in (best * 0.9, best, best * 1.1)]
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
    sample = CalibrationSample(logits, forged, np.full(4_000, 1.0), fold)
    assert not fit_weights(sample, {"a": 1.0, "b": 1.0}).fitted


def test_one_group_cannot_tell_whether_weights_help() -> None:
    logit, forged = truth(500, 8)
    sample = CalibrationSample({"a": logit, "b": -logit}, forged, np.ones(500), np.zeros(500, np.int8))
    assert fit_weights(sample, {"a": 1.0, "b": 1.0}).weights == {"a": 0.5, "b": 0.5}


def test_the_weight_of_a_lone_member_is_one() -> None:
    logit, forged = truth(50, 9)
    assert fit_weights(drawn({"a": logit}, forged), {"a": 1.0}).weights == {"a": 1.0}


def test_a_member_learns_nothing_from_what_it_abstained_of() -> None:
    logit, targets = truth(4_000, 10)
    absent = np.arange(4_000) % 3 == 0
    part = CalibrationSample(
        {"a": 2 * logit[~absent]}, targets[~absent], np.ones((~absent).sum()), np.zeros((~absent).sum(), np.int8)
    )
    whole = drawn({"a": np.where(absent, np.nan, 2 * logit)}, targets)
    assert fit_temperature(whole, "a") == pytest.approx(fit_temperature(part, "a"), rel=1e-4)
    assert fit_temperature(drawn({"a": np.full(4_000, np.nan)}, targets), "a") == 1


def test_weights_are_fitted_to_what_all_members_judged() -> None:
    logit, targets = truth(8_000, 4)
    absent = np.arange(8_000) % 5 == 0
    logits = {"knows": np.where(absent, np.nan, logit), "guesses": np.random.default_rng(5).normal(0, 2, 8_000)}
    fitted = fit_weights(drawn(logits, targets), {"knows": 1.0, "guesses": 1.0})
    assert fitted.fitted and fitted.weights["knows"] > 0.95
