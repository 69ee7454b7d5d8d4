"""The gate: may this bundle replace the current release?"""

from typing import Literal

from bundle import Figures, Pointer
from core.settings import Settings
from tasks.settings import GateSettings
from tasks.task import TASKS, GateFigure


class Check(Settings):
    """One figure against one limit."""

    figure: str
    """Name of the figure."""
    value: float | None
    """None was not measured, and does not pass."""
    relation: Literal["at least", "at most"]
    """How the value must lie to the limit."""
    limit: float
    """What the value is held against."""
    because: str
    """Where the limit is from."""
    passed: bool
    """Whether the value keeps to the limit."""

    def __str__(self) -> str:
        """Return such as ``f1 is 0.21, must be at least 0.3 (min_f1)``."""
        value = "was not measured" if self.value is None else f"is {self.value:.4g}"
        return f"{self.figure} {value}, must be {self.relation} {self.limit:.4g} ({self.because})"


def check_release(figures: Figures, gate: GateSettings, current: Pointer | None) -> list[Check]:
    """Hold a bundle's figures against the recipe's limits and against the current release.

    Args:
        figures: of the bundle, from its evaluation.
        gate: the limits; of the task's own class.
        current: what is published, None where nothing is; a release of another task is not compared with.

    Returns:
        One check for each limit that is set.

    Raises:
        SettingsError: when the figures are of a task that is unknown.
    """
    asked = TASKS.get(figures.task).gate_figures
    limits = [(figure, getattr(gate, figure.key)) for figure in asked]
    checks = [_check(figures, figure, limit, figure.key) for figure, limit in limits if limit is not None]
    if current is not None and gate.margin is not None and current.figures.task == figures.task:
        because = f"current release {current.version}, margin {gate.margin:g}"
        for figure in asked:
            old = current.figures.values.get(figure.name)
            if figure.compared and old is not None:
                limit = old - gate.margin if figure.higher_is_better else old + gate.margin
                checks.append(_check(figures, figure, limit, because))
    return checks


def _check(figures: Figures, figure: GateFigure, limit: float, because: str) -> Check:
    value = figures.values.get(figure.name)
    if figure.higher_is_better:
        return Check(
            figure=figure.name,
            value=value,
            relation="at least",
            limit=limit,
            because=because,
            passed=value is not None and value >= limit,
        )
    return Check(
        figure=figure.name,
        value=value,
        relation="at most",
        limit=limit,
        because=because,
        passed=value is not None and value <= limit,
    )
