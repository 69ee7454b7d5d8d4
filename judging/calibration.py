"""Calibrating on val: one temperature a member, then the weights of the ensemble.

Both minimise the negative log-likelihood (NLL) of binary targets over a weighted sample of whatever a task's networks
are asked about: pixels, frames, clips or whole media.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

TEMPERATURES = (0.05, 20.0)  # beyond these a network has learned nothing, or the sample holds one class
LIKELIHOOD_FLOOR = 1e-12  # of which the logarithm is still finite
DECIMALS = 6  # what is fitted is rounded, so that two machines write the same bundle
EM_STEPS = 300
EM_TOLERANCE = 1e-9

Floats = NDArray[np.float64]


def calibrated(logits: Floats, temperature: float) -> Floats:
    """Return sigmoid(logits / temperature)."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits / temperature)))


def temperature_nll(logits: Floats, targets: NDArray[np.bool_], weights: Floats, temperature: float) -> float:
    """Weighted mean NLL, in nats an item, of ``sigmoid(logits / temperature)``.

    Args:
        logits: float64 [n].
        targets: bool [n], the truth.
        weights: float64 [n], ≥ 0.
        temperature: > 0.
    """
    signed = np.where(targets, -logits, logits) / temperature
    return float(np.average(np.logaddexp(0.0, signed), weights=weights))


def mixture_nll(likelihood: Floats, weight: Floats, mixture: Floats) -> float:
    """Weighted mean NLL of a mixture.

    Args:
        likelihood: float64 [members, n], what each member gives the true class of each item, 0..1.
        weight: float64 [n].
        mixture: float64 [members], sums to 1.
    """
    return float(np.average(-np.log(np.maximum(mixture @ likelihood, LIKELIHOOD_FLOOR)), weights=weight))


@dataclass(frozen=True)
class CalibrationSample:
    """A sample of the val split.

    Attributes:
        logits: by member float64 [n], uncalibrated; NaN where the member abstained.
        targets: bool [n], the truth.
        weights: float64 [n], ≥ 0, of every item in the mean.
        folds: int8 [n], 0 or 1, the same for all of a group.
    """

    logits: Mapping[str, Floats]
    targets: NDArray[np.bool_]
    weights: Floats
    folds: NDArray[np.int8]


def fold_of(group: str) -> int:
    """Return 0 or 1, the same for all of a group: in which half of val it is when fitted weights are tried."""
    return hashlib.sha256(group.encode()).digest()[0] % 2


def fit_temperature(sample: CalibrationSample, member: str) -> float:
    """Return the temperature of a member that minimises the NLL on the sample; 1 if no other is better."""
    logits = sample.logits[member]
    known = ~np.isnan(logits)
    if not known.any():
        return 1.0
    logits, targets, weights = logits[known], sample.targets[known], sample.weights[known]

    def loss(log_temperature: float) -> float:
        return temperature_nll(logits, targets, weights, float(np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), DECIMALS) if found.fun < loss(0.0) else 1.0


@dataclass(frozen=True)
class EnsembleWeights:
    """Weights by member, ≥ 0 and summing to 1, and one sentence that says how they came about."""

    weights: dict[str, float]
    fitted: bool
    note: str


def fit_weights(sample: CalibrationSample, temperatures: Mapping[str, float]) -> EnsembleWeights:
    """Fit the weights of the mean of the members' calibrated probabilities, on the items that all of them judged.

    The NLL of the weighted mean is convex in the weights; it is minimised over the simplex by expectation maximisation
    for mixture proportions. Weights that were fitted fit the sample better by construction. So the question whether
    they help is put to items they were not fitted on: val is halved by group, weights fitted on each half are tried
    on the other, and equal weights are kept unless the fitted ones win there.

    Args:
        sample: of the val split.
        temperatures: of every member.
    """
    names = list(temperatures)
    equal = np.full(len(names), 1.0 / len(names))
    if len(names) == 1:
        return EnsembleWeights({names[0]: 1.0}, False, "one member")
    likelihood = np.stack([_likelihood(sample, name, temperatures[name]) for name in names])
    common = ~np.isnan(likelihood).any(axis=0)
    likelihood, weights, folds = likelihood[:, common], sample.weights[common], sample.folds[common]
    halves = [folds == 0, folds == 1]
    if not all(half.any() for half in halves):
        return EnsembleWeights(_named(names, equal), False, "equal: val has too few groups to tell whether others help")
    gains = [_held_out_gain(likelihood, weights, fit, held_out) for fit, held_out in (halves, halves[::-1])]
    gain = float(np.average(gains, weights=[weights[half].sum() for half in halves[::-1]]))
    if gain <= 0:
        return EnsembleWeights(
            _named(names, equal), False, f"equal: fitted weights change the NLL of held-out val groups by {-gain:+.6f}"
        )
    fitted = mixture_weights(likelihood, weights)
    return EnsembleWeights(
        _named(names, fitted), True, f"fitted: the NLL of held-out val groups changes by {-gain:+.6f}"
    )


def mixture_weights(likelihood: Floats, weight: Floats) -> Floats:
    """Return the proportions [members] that minimise ``mixture_nll``, by expectation maximisation from equal ones."""
    mixture = np.full(len(likelihood), 1.0 / len(likelihood))
    share = weight / weight.sum()
    for _ in range(EM_STEPS):
        total = np.maximum(mixture @ likelihood, LIKELIHOOD_FLOOR)
        updated = mixture * (likelihood @ (share / total))
        updated /= updated.sum()
        if np.abs(updated - mixture).max() < EM_TOLERANCE:
            return np.asarray(updated)
        mixture = updated
    return mixture


def _held_out_gain(likelihood: Floats, weights: Floats, fit: NDArray[np.bool_], held_out: NDArray[np.bool_]) -> float:
    mixture = mixture_weights(likelihood[:, fit], weights[fit])
    equal = np.full(len(likelihood), 1.0 / len(likelihood))
    items = likelihood[:, held_out], weights[held_out]
    return mixture_nll(*items, equal) - mixture_nll(*items, mixture)


def _likelihood(sample: CalibrationSample, member: str, temperature: float) -> Floats:
    positive = calibrated(sample.logits[member], temperature)
    return np.asarray(np.where(sample.targets, positive, 1.0 - positive))


def _named(names: Sequence[str], mixture: Floats) -> dict[str, float]:
    rounded = [round(float(value), DECIMALS) for value in mixture]
    rounded[int(np.argmax(rounded))] += round(1.0 - sum(rounded), DECIMALS)
    return {name: round(value, DECIMALS) for name, value in zip(names, rounded, strict=True)}
