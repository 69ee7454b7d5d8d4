"""The gate: may this bundle replace the current release?"""

from typing import Literal

from components.publish.recipe import GateSettings
from media.bundle import Figures, Pointer
from media.settings import Settings


class Check(Settings):
    """One figure against one limit; ``value`` None was not measured, and does not pass."""

    figure: Literal["f1", "authentic_fpr", "robustness"]
    value: float | None
    relation: Literal["at least", "at most"]
    limit: float
    because: str
    passed: bool

    def __str__(self) -> str:
        """Return such as ``f1 is 0.21, must be at least 0.3 (min_f1)``."""
        value = "was not measured" if self.value is None else f"is {self.value:.4g}"
        return f"{self.figure} {value}, must be {self.relation} {self.limit:.4g} ({self.because})"


def judge_release(figures: Figures, gate: GateSettings, current: Pointer | None) -> list[Check]:
    """Hold a bundle's figures against the recipe's limits and against the current release.

    Args:
        figures: of the bundle, from its evaluation.
        gate: the limits.
        current: what is published, None where nothing is.

    Returns:
        One check for each limit that is set.
    """
    checks = []
    if gate.min_f1 is not None:
        checks.append(_at_least("f1", figures.f1, gate.min_f1, "min_f1"))
    if gate.max_authentic_fpr is not None:
        checks.append(_at_most("authentic_fpr", figures.authentic_fpr, gate.max_authentic_fpr, "max_authentic_fpr"))
    if gate.robustness_floor is not None:
        checks.append(_at_least("robustness", figures.robustness, gate.robustness_floor, "robustness_floor"))
    if current is not None and gate.margin is not None:
        because = f"current release {current.version}, margin {gate.margin:g}"
        old = current.figures
        if old.f1 is not None:
            checks.append(_at_least("f1", figures.f1, old.f1 - gate.margin, because))
        if old.authentic_fpr is not None:
            checks.append(_at_most("authentic_fpr", figures.authentic_fpr, old.authentic_fpr + gate.margin, because))
    return checks


def _at_least(figure: Literal["f1", "robustness"], value: float | None, limit: float, because: str) -> Check:
    passed = value is not None and value >= limit
    return Check(figure=figure, value=value, relation="at least", limit=limit, because=because, passed=passed)


def _at_most(figure: Literal["authentic_fpr"], value: float | None, limit: float, because: str) -> Check:
    passed = value is not None and value <= limit
    return Check(figure=figure, value=value, relation="at most", limit=limit, because=because, passed=passed)
