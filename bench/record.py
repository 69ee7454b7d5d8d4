"""What a benchmark says: one ratio, how it spread over the rounds, and whether its goal was met."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["met", "within spread", "missed", ""]


@dataclass(frozen=True)
class Ratio:
    """One figure.

    Attributes:
        name: what was measured.
        value: the figure itself, the median over the rounds.
        unit: of ``value``.
        against: the peer or the limit that the ratio is against.
        rounds: the ratio in each round, at least one.
        goal: what the ratio should reach; None where there is no goal.
        at_most: whether the goal is a ceiling rather than a floor.
    """

    name: str
    value: float
    unit: str
    against: str
    rounds: Sequence[float]
    goal: float | None = None
    at_most: bool = False

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the range between the quartiles of the rounds; 0 for one round."""
        low, high = np.percentile(self.rounds, [25, 75])
        return float(high - low) / 2

    @property
    def verdict(self) -> Verdict:
        """Whether the goal was met, or missed by no more than the spread; empty without a goal."""
        if self.goal is None:
            return ""
        short = self.ratio - self.goal if self.at_most else self.goal - self.ratio
        return "met" if short <= 0 else "within spread" if short <= self.spread else "missed"

    def line(self) -> str:
        """Return one line for a person."""
        goal = "no goal" if self.goal is None else f"goal {'≤' if self.at_most else '≥'} {self.goal:g}: {self.verdict}"
        return (
            f"{self.name}: {self.value:.4g} {self.unit}; {self.ratio:.3f} ± {self.spread:.3f} × {self.against}; {goal}"
        )

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "against": self.against,
            "ratio": self.ratio,
            "spread": self.spread,
            "rounds": list(self.rounds),
            "goal": self.goal,
            "at_most": self.at_most,
            "verdict": self.verdict,
        }
