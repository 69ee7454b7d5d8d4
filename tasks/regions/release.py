"""What an evaluation of networks that mark regions measured of a release; imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from tasks.evaluation import finite, worst_retained
from tasks.task import ReleaseFigures

SHOWN = ("f1", "iou", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


def release_figures(group: Mapping[str, Any], document: Mapping[str, Any]) -> ReleaseFigures:
    """Return the figures over pictures.

    Args:
        group: of ``metrics.json``.
        document: all of it.

    Raises:
        KeyError, TypeError: when a figure is not there.
    """
    del document
    ensemble = group["ensemble"]
    shown = {name: finite(ensemble[name]) for name in SHOWN}
    degraded = [values["f1"] for values in group.get("robustness", {}).values()]
    gate = {
        "f1": shown["f1"],
        "authentic_fpr": shown["authentic_fpr"],
        "robustness": worst_retained(shown["f1"], degraded),
    }
    return ReleaseFigures(gate, shown)
