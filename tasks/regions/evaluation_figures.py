"""From statistics to the figures that ``metrics.json`` holds."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from judging.bootstrap import Bootstrap
from judging.choice import Choice
from tasks.groups import Group
from tasks.regions.comparison import RecallKind, fpr_at_equal_recall, paired_differences
from tasks.regions.fitting import FittedGroups, Statistics
from tasks.regions.metrics import image_metrics, point_metrics, region_metrics
from tasks.regions.operating_point import point_of
from tasks.regions.prediction import Member
from tasks.regions.settings import RegionsEvaluate
from tasks.task import ENSEMBLE

KINDS: tuple[RecallKind, ...] = ("image", "pixel")


def group_figures(
    group: Group[Member],
    test: Mapping[str, Statistics],
    degraded: Mapping[str, Statistics],
    choices: Mapping[str, Choice],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return a group's figures on test.

    Args:
        group: whose.
        test: by data set, statistics by member and ensemble.
        degraded: by degradation, statistics by ensemble.
        choices: operating points by member and ensemble.
        bootstrap: how intervals are drawn.

    Returns:
        ``ensemble`` and ``members`` by name, each with its ``operating_point`` and figures by data set under
        ``datasets``; ``operating_point`` of the ensemble, ``weights`` and ``temperatures`` by member, ``weights_note``,
        and ``robustness`` by degradation.
    """
    figures = {
        name: {
            "operating_point": choices[key].to_json(),
            "datasets": {
                dataset: region_metrics(statistics[key], point_of(choices[key]), bootstrap=bootstrap)
                for dataset, statistics in test.items()
            },
        }
        for name, key in group.all_keys.items()
    }
    ensemble, point = figures.pop(ENSEMBLE), point_of(choices[group.ensemble])
    return {
        "ensemble": ensemble,
        "members": figures,
        "operating_point": ensemble["operating_point"],
        "weights": {name: member.weight for name, member in group.members.items()},
        "temperatures": {name: member.temperature for name, member in group.members.items()},
        "weights_note": group.weights_note,
        "robustness": {
            name: {
                **point_metrics(statistics[group.ensemble], point, bootstrap),
                "image": image_metrics(statistics[group.ensemble], point, bootstrap),
            }
            for name, statistics in degraded.items()
        },
    }


def comparisons(
    fitted: FittedGroups, test: Mapping[str, Statistics], settings: RegionsEvaluate
) -> list[dict[str, Any]]:
    """Compare the last group with every other one: ensembles, members of equal name, and at equal recall.

    Args:
        fitted: the groups.
        test: by data set, statistics by member and ensemble.
        settings: of the evaluation.

    Returns:
        An entry for each data set and group before the last.
    """
    *others, last = fitted.groups
    return [_compared(dataset, other, last, fitted, test[dataset], settings) for dataset in test for other in others]


def _compared(
    dataset: str,
    first: Group[Member],
    second: Group[Member],
    fitted: FittedGroups,
    test: Statistics,
    settings: RegionsEvaluate,
) -> dict[str, Any]:
    def paired(one: str, other: str) -> dict[str, Any]:
        first_point, second_point = (point_of(fitted.choices[key]) for key in (one, other))
        return paired_differences(test[one], first_point, test[other], second_point, settings.bootstrap)

    return {
        "dataset": dataset,
        "first": first.name,
        "second": second.name,
        "ensemble": paired(first.ensemble, second.ensemble),
        "members": {
            name: paired(member.name, second.members[name].name)
            for name, member in first.members.items()
            if name in second.members
        },
        "equal_recall": _equal_recall(first, second, fitted, test, settings),
    }


def _equal_recall(
    first: Group[Member], second: Group[Member], fitted: FittedGroups, test: Statistics, settings: RegionsEvaluate
) -> list[dict[str, Any]]:
    """Compare at the first group's own recall on val, and at those of the recipe; image-wise and pixel-wise."""
    names = {first.name: first.ensemble, second.name: second.ensemble}
    choice = fitted.choices[first.ensemble]
    own: dict[RecallKind, float] = {
        "image": choice.figures["forged_recall"],
        "pixel": choice.figures["pixel_recall"],
    }
    compared = []
    for kind, recall in product(KINDS, (None, *settings.recalls)):
        result = fpr_at_equal_recall(
            {name: fitted.val[key] for name, key in names.items()},
            {name: test[key] for name, key in names.items()},
            kind=kind,
            recall=own[kind] if recall is None else recall,
            min_area_fraction=point_of(choice).min_area_fraction,
            bootstrap=settings.bootstrap,
        )
        compared.append({**result, "own_recall_of": first.name if recall is None else None})
    return compared
