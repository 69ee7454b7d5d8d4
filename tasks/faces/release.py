"""What an evaluation of classifiers of faces measured of a release; imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from tasks.evaluation import finite, worst_retained
from tasks.task import ReleaseFigures

SHOWN = ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_fpr_1", "tpr_at_fpr_5", "macro_f1", "ece")


def release_figures(group: Mapping[str, Any], document: Mapping[str, Any]) -> ReleaseFigures:
    """Return the figures over whole media, on the data set that decides.

    Args:
        group: of ``metrics.json``.
        document: all of it.

    Raises:
        KeyError, TypeError: when a figure is not there.
    """
    main = document["main_dataset"]
    video = group["ensemble"]["datasets"][main]["video"]
    degraded = [values["video"]["auc"] for values in group.get("robustness", {}).values()]
    auc = finite(video["auc"])
    gate = {
        "auc": auc,
        "tpr": finite(video["recall_forged"]),
        "authentic_fpr": _authentic_fpr(video),
        "robustness": worst_retained(auc, degraded, chance=0.5),
    }
    members = {name: _shown(member["datasets"][main]["video"]) for name, member in group["members"].items()}
    return ReleaseFigures(gate, _shown(video), members)


def _shown(video: Mapping[str, Any]) -> dict[str, float | None]:
    figures = {f"video {name}": finite(video[name]) for name in SHOWN}
    return figures | {"authentic_fpr": _authentic_fpr(video), "recall of manipulated": finite(video["recall_forged"])}


def _authentic_fpr(video: Mapping[str, Any]) -> float | None:
    recall = finite(video["recall_authentic"])
    return None if recall is None else 1 - recall
