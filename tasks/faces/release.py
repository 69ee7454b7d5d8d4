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
    video = group["ensemble"]["datasets"][document["main_dataset"]]["video"]
    degraded = [values["video"]["auc"] for values in group.get("robustness", {}).values()]
    auc, recall = finite(video["auc"]), finite(video["recall_authentic"])
    gate = {
        "auc": auc,
        "tpr": finite(video["recall_forged"]),
        "authentic_fpr": None if recall is None else 1 - recall,
        "robustness": worst_retained(auc, degraded, chance=0.5),
    }
    shown = {f"video {name}": finite(video[name]) for name in SHOWN}
    return ReleaseFigures(gate, shown | {"authentic_fpr": gate["authentic_fpr"], "recall of manipulated": gate["tpr"]})
