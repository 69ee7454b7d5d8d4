"""Reading what an evaluation measured; imports nothing heavy, so that publication needs no torch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle import Figures
from bundle.regions.verdict import OperatingPoint
from core.errors import BadInputError, unknown_name
from core.files import sha256_file

METRICS_FILE = "metrics.json"
SHOWN = ("f1", "iou", "authentic_fpr", "authentic_fp_fraction", "forged_recall")
SHOWN_VIDEO = ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5", "macro_f1", "ece")


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
        document = json.loads(path.read_text(encoding="utf-8"))
        groups = document["groups"]
        if group not in groups:
            raise unknown_name("evaluation group", group, groups)
        found = groups[group]
        figures, shown = _faces(found, document) if document.get("task") == "classification" else _regions(found)
        weights, temperatures = found["weights"], found["temperatures"]
        total = sum(weights.values())
        members = {name: Share(weights[name] / total, float(temperatures[name])) for name in found["members"]}
        point = OperatingPoint(**{name: found["operating_point"][name] for name in OperatingPoint.model_fields})
        return Evaluation(figures, members, point, shown, sha256_file(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise BadInputError(
            "not-an-evaluation", f"{path} is not what python -m components.evaluate writes ({error!r})"
        ) from error


def _regions(group: Mapping[str, Any]) -> tuple[Figures, dict[str, float | None]]:
    ensemble = group["ensemble"]
    shown = {name: _number(ensemble[name]) for name in SHOWN}
    degraded = [values["f1"] for values in group.get("robustness", {}).values()]
    figures = Figures(
        f1=shown["f1"], authentic_fpr=shown["authentic_fpr"], robustness=worst_retained(shown["f1"], degraded)
    )
    return figures, shown


def _faces(group: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Figures, dict[str, float | None]]:
    """Read the figures of whole media, on the data set that decides."""
    video = group["ensemble"]["datasets"][document["main_dataset"]]["video"]
    degraded = [values["video"]["auc"] for values in group.get("robustness", {}).values()]
    auc, recall = _number(video["auc"]), _number(video["recall_authentic"])
    figures = Figures(
        task="classification",
        auc=auc,
        tpr=_number(video["recall_forged"]),
        authentic_fpr=None if recall is None else 1 - recall,
        robustness=worst_retained(auc, degraded, chance=0.5),
    )
    named = {f"video {name}": _number(video[name]) for name in SHOWN_VIDEO}
    return figures, named | {"authentic_fpr": figures.authentic_fpr, "recall of manipulated": figures.tpr}


def worst_retained(clean: float | None, degraded: Sequence[float | None], chance: float = 0.0) -> float | None:
    """Return the smallest share of a figure above chance that is left under any degradation, 0 or more.

    Args:
        clean: the figure as things are.
        degraded: the figure under each degradation.
        chance: what guessing reaches.

    Returns:
        None where there is no degradation, or a figure is not defined, or the clean one is no better than chance.
    """
    values = [value for value in map(_number, degraded) if value is not None]
    if clean is None or clean <= chance or not values or len(values) < len(degraded):
        return None
    return max(0.0, min(values) - chance) / (clean - chance)


def _number(value: Any) -> float | None:
    """Return a figure; None where it is not defined, which JSON may also spell NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
