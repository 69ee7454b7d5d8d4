"""Calibrating on val: one temperature a member, then the weights of the ensemble.

Both minimise the negative log-likelihood (NLL) of pixel labels. Pixels are drawn at random from the forged and from
the authentic part of each picture and weighted by the inverse of the chance of being drawn, so that the weighted mean
over the sample is an unbiased estimate of the mean over all pixels of each picture, every picture counting the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from core.errors import BadInputError
from judging.guard import require_val

TEMPERATURES = (0.05, 20.0)  # beyond these a network has learned nothing, or the sample holds one class
LIKELIHOOD_FLOOR = 1e-12  # of which the logarithm is still finite
DECIMALS = 6  # what is fitted is rounded, so that two machines write the same bundle
EM_STEPS = 300
EM_TOLERANCE = 1e-9

Floats = NDArray[np.float64]


def calibrated(logit: Floats, temperature: float) -> Floats:
    """Return sigmoid(logit / temperature)."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit / temperature)))


def temperature_nll(logit: Floats, forged: NDArray[np.bool_], weight: Floats, temperature: float) -> float:
    """Weighted mean NLL, in nats a pixel, of ``sigmoid(logit / temperature)``.

    Args:
        logit: float64 [n].
        forged: bool [n], the truth.
        weight: float64 [n], ≥ 0.
        temperature: > 0.
    """
    signed = np.where(forged, -logit, logit) / temperature
    return float(np.average(np.logaddexp(0.0, signed), weights=weight))


def mixture_nll(likelihood: Floats, weight: Floats, mixture: Floats) -> float:
    """Weighted mean NLL of a mixture.

    Args:
        likelihood: float64 [members, n], what each member gives the true class of each pixel, 0..1.
        weight: float64 [n].
        mixture: float64 [members], sums to 1.
    """
    return float(np.average(-np.log(np.maximum(mixture @ likelihood, LIKELIHOOD_FLOOR)), weights=weight))


@dataclass(frozen=True)
class PixelSample:
    """Sampled pixels of the val split.

    Attributes:
        logit: by member float64 [n], uncalibrated.
        forged: bool [n].
        weight: float64 [n]; those of one picture sum to 1.
        fold: int8 [n], 0 or 1, the same for a whole group of pictures.
    """

    logit: Mapping[str, Floats]
    forged: NDArray[np.bool_]
    weight: Floats
    fold: NDArray[np.int8]


class PixelSampler:
    """Draws the sample picture by picture; memory is 8 bytes a pixel and member.

    Args:
        pixels_per_picture: how many are drawn from one picture, half of them forged where there are as many.
        seed: the draw of a picture depends on it and on the picture's id alone.
    """

    def __init__(self, pixels_per_picture: int, seed: int) -> None:
        self._count = pixels_per_picture
        self._seed = seed
        self._logits: dict[str, list[Floats]] = {}
        self._forged: list[NDArray[np.bool_]] = []
        self._weights: list[Floats] = []
        self._folds: list[NDArray[np.int8]] = []

    def add(self, row: Mapping[str, Any], mask: NDArray[np.bool_], logits: Mapping[str, NDArray[np.float32]]) -> None:
        """Draw from one picture.

        Args:
            row: of the sample index.
            mask: ground truth [H, W].
            logits: by member float32 [H, W], before any temperature.

        Raises:
            SplitLeakError: when the row is not of the val split.
        """
        require_val([row["split"]], "calibration")
        key = hashlib.sha256(f"{self._seed}\n{row['sample_id']}".encode()).digest()
        where, weight = draw_pixels(mask, self._count, np.random.default_rng(int.from_bytes(key[:8], "big")))
        for name, logit in logits.items():
            self._logits.setdefault(name, []).append(logit.ravel()[where].astype(np.float64))
        self._forged.append(mask.ravel()[where])
        self._weights.append(weight)
        self._folds.append(np.full(len(where), fold_of(str(row["group_id"])), dtype=np.int8))

    def build(self) -> PixelSample:
        """Return what was drawn.

        Raises:
            BadInputError: ``empty-class`` when there is no forged or no authentic pixel to learn from.
        """
        forged = np.concatenate(self._forged) if self._forged else np.zeros(0, dtype=np.bool_)
        if forged.all() or not forged.any():
            lacking = "authentic" if len(forged) and forged.all() else "forged"
            raise BadInputError(
                "empty-class", f"the val split has no {lacking} pixels, so nothing can be calibrated; extract with more"
            )
        logit = {name: np.concatenate(parts) for name, parts in self._logits.items()}
        return PixelSample(logit, forged, np.concatenate(self._weights), np.concatenate(self._folds))


def fold_of(group: str) -> int:
    """Return 0 or 1, the same for all of a group: in which half of val it is when fitted weights are tried."""
    return hashlib.sha256(group.encode()).digest()[0] % 2


def draw_pixels(
    mask: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Draw pixels from both classes of a mask without replacement.

    Args:
        mask: bool [H, W].
        count: how many; half from each class, and what one class lacks from the other.
        generator: source of chance.

    Returns:
        Flat positions int64 [n], n = min(count, H·W), and weights float64 [n] that sum to 1: each class weighs its
        share of the picture's pixels.
    """
    flat = mask.ravel()
    forged, authentic = np.flatnonzero(flat), np.flatnonzero(~flat)
    from_forged = min(len(forged), max(count // 2, count - len(authentic)))
    parts = [(forged, from_forged), (authentic, min(len(authentic), count - from_forged))]
    where = [members[generator.choice(len(members), n, replace=False)] for members, n in parts if n]
    weight = [np.full(n, len(members) / flat.size / n) for members, n in parts if n]
    return np.concatenate(where).astype(np.int64), np.concatenate(weight)


def fit_temperature(sample: PixelSample, member: str) -> float:
    """Return the temperature of a member that minimises the NLL on the sample; 1 if no other is better."""
    logit = sample.logit[member]

    def loss(log_temperature: float) -> float:
        return temperature_nll(logit, sample.forged, sample.weight, float(np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), DECIMALS) if found.fun < loss(0.0) else 1.0


@dataclass(frozen=True)
class EnsembleWeights:
    """Weights by member, ≥ 0 and summing to 1, and one sentence that says how they came about."""

    weights: dict[str, float]
    fitted: bool
    note: str


def fit_weights(sample: PixelSample, temperatures: Mapping[str, float]) -> EnsembleWeights:
    """Fit the weights of the mean of the members' calibrated probabilities.

    The NLL of the weighted mean is convex in the weights; it is minimised over the simplex by expectation maximisation
    for mixture proportions. Weights that were fitted fit the sample better by construction. So the question whether
    they help is put to pictures they were not fitted on: val is halved by group, weights fitted on each half are tried
    on the other, and equal weights are kept unless the fitted ones win there.

    Args:
        sample: pixels of the val split.
        temperatures: of every member.
    """
    names = list(temperatures)
    equal = np.full(len(names), 1.0 / len(names))
    if len(names) == 1:
        return EnsembleWeights({names[0]: 1.0}, False, "one member")
    likelihood = np.stack([_likelihood(sample, name, temperatures[name]) for name in names])
    halves = [sample.fold == 0, sample.fold == 1]
    if not all(half.any() for half in halves):
        return EnsembleWeights(_named(names, equal), False, "equal: val has too few groups to tell whether others help")
    gains = [_held_out_gain(likelihood, sample.weight, ours, theirs) for ours, theirs in (halves, halves[::-1])]
    gain = float(np.average(gains, weights=[sample.weight[half].sum() for half in halves[::-1]]))
    if gain <= 0:
        return EnsembleWeights(
            _named(names, equal), False, f"equal: fitted weights change the NLL of held-out val groups by {-gain:+.6f}"
        )
    fitted = mixture_weights(likelihood, sample.weight)
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


def _held_out_gain(likelihood: Floats, weight: Floats, fit: NDArray[np.bool_], judge: NDArray[np.bool_]) -> float:
    mixture = mixture_weights(likelihood[:, fit], weight[fit])
    equal = np.full(len(likelihood), 1.0 / len(likelihood))
    held_out = likelihood[:, judge], weight[judge]
    return mixture_nll(*held_out, equal) - mixture_nll(*held_out, mixture)


def _likelihood(sample: PixelSample, member: str, temperature: float) -> Floats:
    forged = calibrated(sample.logit[member], temperature)
    return np.asarray(np.where(sample.forged, forged, 1.0 - forged))


def _named(names: Sequence[str], mixture: Floats) -> dict[str, float]:
    rounded = [round(float(value), DECIMALS) for value in mixture]
    rounded[int(np.argmax(rounded))] += round(1.0 - sum(rounded), DECIMALS)
    return {name: round(value, DECIMALS) for name, value in zip(names, rounded, strict=True)}
