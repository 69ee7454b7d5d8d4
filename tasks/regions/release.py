"""What an evaluation of networks that mark regions measured of a release; imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from tasks.evaluation import finite, worst_retained
from tasks.task import ReleaseFigures

SHOWN = ("f1", "iou", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


def release_figures(group: Mapping[str, Any], document: Mapping[str, Any]) -> ReleaseFigures:
    """Return the figures over pictures, on the data set that decides.

    Args:
        group: of ``metrics.json``.
        document: all of it.

    Raises:
        KeyError, TypeError: when a figure is not there.
    """
    main = document["main_dataset"]
    shown = _shown(group["ensemble"]["datasets"][main])
    degraded = [values["f1"] for values in group.get("robustness", {}).values()]
    gate = {
        "f1": shown["f1"],
        "authentic_fpr": shown["authentic_fpr"],
        "robustness": worst_retained(shown["f1"], degraded),
    }
    members = {name: _shown(member["datasets"][main]) for name, member in group["members"].items()}
    return ReleaseFigures(gate, shown, members)


def _shown(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: finite(figures[name]) for name in SHOWN}
