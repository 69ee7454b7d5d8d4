"""Reading what an evaluation measured; imports nothing heavy, so that publication needs no torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.bundle import Figures
from media.errors import BadInputError, unknown_name
from media.files import sha256_file
from media.verdict import OperatingPoint

METRICS_FILE = "metrics.json"
SHOWN = ("f1", "iou", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


@dataclass(frozen=True)
class Share:
    """How a member took part: its weight, the weights summing to 1, and its temperature."""

    weight: float
    temperature: float


@dataclass(frozen=True)
class Evaluation:
    """One group of an evaluation.

    Attributes:
        figures: those a release is judged by.
        members: how each model in the group took part, by name.
        point: the ensemble's operating point.
        shown: figures of the ensemble by name for a person, None where not defined.
        sha256: of the evaluation's metrics.
    """

    figures: Figures
    members: Mapping[str, "Share"]
    point: OperatingPoint
    shown: Mapping[str, float | None]
    sha256: str


def read_evaluation(folder: Path, group: str) -> Evaluation:
    """Read one group of an evaluation step's ``metrics.json``.

    Args:
        folder: that the evaluation wrote.
        group: such as ``v4``.

    Raises:
        BadInputError: ``not-an-evaluation`` when the file is missing or lacks what is needed.
        SettingsError: when there is no such group.
    """
    path = folder / METRICS_FILE
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
        if group not in groups:
            raise unknown_name("evaluation group", group, groups)
        found = groups[group]
        ensemble = found["ensemble"]
        shown = {name: _number(ensemble[name]) for name in SHOWN}
        figures = Figures(
            f1=shown["f1"],
            authentic_fpr=shown["authentic_fpr"],
            robustness=worst_retained(shown["f1"], found.get("robustness", {})),
        )
        weights, temperatures = found["weights"], found["temperatures"]
        total = sum(weights.values())
        members = {name: Share(weights[name] / total, float(temperatures[name])) for name in found["members"]}
        point = OperatingPoint(**{name: found["operating_point"][name] for name in OperatingPoint.model_fields})
        return Evaluation(figures, members, point, shown, sha256_file(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise BadInputError(
            "not-an-evaluation", f"{path} is not what python -m components.evaluate writes ({error!r})"
        ) from error


def worst_retained(clean: float | None, robustness: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return the smallest share of the clean F1 that is left under any degradation, 0 or more.

    Args:
        clean: F1 on the pictures as they are.
        robustness: by degradation a mapping with ``f1``.

    Returns:
        None where there is no degradation, or an F1 is not defined, or the clean F1 is 0.
    """
    degraded = [_number(values["f1"]) for values in robustness.values()]
    if not clean or not degraded or any(value is None for value in degraded):
        return None
    return min(value for value in degraded if value is not None) / clean


def _number(value: Any) -> float | None:
    """Return a figure; None where it is not defined, which JSON may also spell NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
