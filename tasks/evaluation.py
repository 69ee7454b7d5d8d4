"""Reading what an evaluation measured; imports nothing heavy, so that publication needs no torch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInputError, unknown_name
from core.files import sha256_file
from judging.choice import decision_in
from tasks.task import TASKS, ReleaseFigures

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class Share:
    """How a member took part: its weight, the weights summing to 1, and its temperature."""

    weight: float
    temperature: float


@dataclass(frozen=True)
class Evaluation:
    """One group of an evaluation.

    Attributes:
        task: name of the task.
        group: name of the group, such as ``v4``.
        figures: of the group's ensemble.
        members: how each model in the group took part, by name.
        decision: the ensemble's, fields of the task's class by name.
        sha256: of the evaluation's metrics.
    """

    task: str
    group: str
    figures: ReleaseFigures
    members: Mapping[str, Share]
    decision: Mapping[str, Any]
    sha256: str


def read_evaluation(folder: Path, group: str = "") -> Evaluation:
    """Read one group of an evaluation step's ``metrics.json``.

    Args:
        folder: that the evaluation wrote.
        group: such as ``v4``; empty for the last.

    Raises:
        BadInputError: ``not-an-evaluation`` when the file is missing or lacks what is needed.
        SettingsError: when there is no such group, or the task is unknown.
    """
    path = folder / METRICS_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        groups, task = document["groups"], str(document["task"])
        name = group or next(reversed(groups))
        if name not in groups:
            raise unknown_name("evaluation group", name, groups)
        found = groups[name]
        weights, temperatures = found["weights"], found["temperatures"]
        total = sum(weights.values())
        return Evaluation(
            task=task,
            group=name,
            figures=TASKS.get(task).release_figures(found, document),
            members={one: Share(weights[one] / total, float(temperatures[one])) for one in found["members"]},
            decision=decision_in(found["operating_point"]),
            sha256=sha256_file(path),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, StopIteration) as error:
        raise BadInputError(
            "not-an-evaluation", f"{path} is not what python -m components.evaluate writes ({error!r})"
        ) from error


def worst_retained(clean: float | None, degraded: Sequence[float | None], chance: float = 0.0) -> float | None:
    """Return the smallest share of a figure above chance that is left under any degradation, 0 or more.

    Args:
        clean: the figure as things are.
        degraded: the figure under each degradation.
        chance: what guessing reaches.

    Returns:
        None where there is no degradation, or a figure is not defined, or the clean one is no better than chance.
    """
    values = [value for value in map(finite, degraded) if value is not None]
    if clean is None or clean <= chance or not values or len(values) < len(degraded):
        return None
    return max(0.0, min(values) - chance) / (clean - chance)


def finite(value: Any) -> float | None:
    """Return a figure; None where it is not defined, which JSON may also spell NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
