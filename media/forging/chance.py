"""Drawing parameters: every value is rounded as it is recorded, so that a recipe says exactly what was done."""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

T = TypeVar("T")

DIGITS = 4


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on ``parts`` alone, whatever the machine or the order of work."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def happens(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return bool(rng.random() < probability)


def uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw uniformly from a closed range."""
    return round(float(rng.uniform(*bounds)), DIGITS)


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw from a closed range of positive numbers so that each octave is equally likely."""
    return round(float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1])))), DIGITS)


def integer(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    """Draw a whole number from a range, both ends included."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def weighted(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """Draw a key with probability proportional to its weight; at least one weight must be positive."""
    keys = list(weights)
    shares = np.array([weights[key] for key in keys], dtype=np.float64)
    return keys[int(rng.choice(len(keys), p=shares / shares.sum()))]
