"""The gate: may this bundle replace the current release?"""

from typing import Literal

from bundle import Figures, Pointer
from core.settings import Settings
from tasks.evaluation import Evaluation
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


class Standard(Settings):
    """What a bundle is compared with."""

    version: str
    """Of the current release."""
    values: dict[str, float | None]
    """Its figures on the media that the bundle was judged on."""


def standard_of(evaluation: Evaluation, figures: Figures, current: Pointer | None) -> tuple[Standard | None, str]:
    """Return the current release's figures on the bundle's own test media, and in words where they are from.

    Args:
        evaluation: of the bundle, and maybe of the current release on the same media.
        figures: of the bundle.
        current: what is published, None where nothing is.

    Returns:
        None where there is nothing that may be compared with; the words say why.
    """
    if current is None:
        return None, "nothing is released yet"
    judged = evaluation.current
    if judged is not None and judged.sha256 == current.bundle_sha256:
        values = dict(judged.figures.gate)
        return Standard(version=current.version, values=values), f"{current.version}, judged again on the same media"
    if current.figures.comparable(figures):
        found = Standard(version=current.version, values=current.figures.values)
        return found, f"{current.version}, by the figures it was released with, which are of the same media"
    if evaluation.left_out:
        return None, f"not compared with {current.version}: {evaluation.left_out}"
    return None, (
        f"not compared with {current.version}: the evaluation did not judge it, and the figures that it was released "
        f"with are of {_media(current.figures)}, those of the bundle of {_media(figures)}"
    )


def _media(figures: Figures) -> str:
    degraded = "+".join(figures.degradations) or "no degradation"
    return f"task {figures.task}, data set {figures.dataset_sha256[:12]}, {degraded}"


def check_release(figures: Figures, gate: GateSettings, standard: Standard | None) -> list[Check]:
    """Hold a bundle's figures against the recipe's limits and against the current release.

    Args:
        figures: of the bundle, from its evaluation.
        gate: the limits; of the task's own class.
        standard: what is released, on the same media; None where there is nothing to compare with.

    Returns:
        One check for each limit that is set.

    Raises:
        SettingsError: when the figures are of a task that is unknown.
    """
    asked = TASKS.get(figures.task).gate_figures
    limits = [(figure, getattr(gate, figure.key)) for figure in asked]
    checks = [_check(figures, figure, limit, figure.key) for figure, limit in limits if limit is not None]
    if standard is not None and gate.margin is not None:
        because = f"current release {standard.version}, margin {gate.margin:g}"
        for figure in asked:
            old = standard.values.get(figure.name)
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
