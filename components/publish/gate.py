"""The gate: may this bundle replace the current release?"""

from typing import Literal

from bundle import Figures, Pointer
from components.publish.recipe import GateSettings
from core.settings import Settings

Name = Literal["f1", "auc", "tpr", "authentic_fpr", "robustness"]
# What is held against the current release: a classifier's robustness too, which its AUC on clean media hides.
COMPARED: dict[str, tuple[Name, ...]] = {
    "segmentation": ("f1", "authentic_fpr"),
    "classification": ("auc", "tpr", "authentic_fpr", "robustness"),
}


class Check(Settings):
    """One figure against one limit; ``value`` None was not measured, and does not pass."""

    figure: Name
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
        current: what is published, None where nothing is; a release of the other task is not compared with.

    Returns:
        One check for each limit that is set.
    """
    limits: dict[str, tuple[Name, float | None]] = {
        "max_authentic_fpr": ("authentic_fpr", gate.max_authentic_fpr),
        "robustness_floor": ("robustness", gate.robustness_floor),
    }
    if figures.task == "segmentation":
        limits = {"min_f1": ("f1", gate.min_f1), **limits}
    else:
        limits = {"min_auc": ("auc", gate.min_auc), "min_tpr": ("tpr", gate.min_tpr), **limits}
    checks = [_check(figures, name, limit, because) for because, (name, limit) in limits.items() if limit is not None]
    if current is not None and gate.margin is not None and current.figures.task == figures.task:
        because = f"current release {current.version}, margin {gate.margin:g}"
        for name in COMPARED[figures.task]:
            old = getattr(current.figures, name)
            if old is not None:
                worse = gate.margin if name == "authentic_fpr" else -gate.margin
                checks.append(_check(figures, name, old + worse, because))
    return checks


def _check(figures: Figures, name: Name, limit: float, because: str) -> Check:
    value = getattr(figures, name)
    if name == "authentic_fpr":
        passed = value is not None and value <= limit
        return Check(figure=name, value=value, relation="at most", limit=limit, because=because, passed=passed)
    passed = value is not None and value >= limit
    return Check(figure=name, value=value, relation="at least", limit=limit, because=because, passed=passed)
