"""From statistics to the figures that ``metrics.json`` holds."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from judging.bootstrap import Bootstrap
from judging.choice import Choice
from tasks.groups import Group
from tasks.regions.comparison import RecallKind, fpr_at_equal_recall, paired_differences
from tasks.regions.metrics import image_metrics, point_metrics, region_metrics
from tasks.regions.operating_point import point_of
from tasks.regions.prediction import Member
from tasks.regions.settings import RegionsEvaluate
from tasks.regions.statistics import PixelStatistics

KINDS: tuple[RecallKind, ...] = ("image", "pixel")


def group_figures(
    group: Group[Member],
    test: Mapping[str, PixelStatistics],
    degraded: Mapping[str, Mapping[str, PixelStatistics]],
    choices: Mapping[str, Choice],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return a group's figures on test.

    Args:
        group: whose.
        test: statistics by member and ensemble.
        degraded: by degradation, statistics by ensemble.
        choices: operating points by member and ensemble.
        bootstrap: how intervals are drawn.

    Returns:
        ``ensemble``, ``members`` by name, ``operating_point`` of the ensemble as chosen on val, ``weights`` and
        ``temperatures`` by member, and ``robustness`` by degradation.
    """
    members = {}
    for name, member in group.members.items():
        figures = region_metrics(test[member.name], point_of(choices[member.name]), bootstrap=bootstrap)
        members[name] = {**figures, "choice": choices[member.name].to_json()}
    choice = choices[group.ensemble]
    point = point_of(choice)
    ensemble = region_metrics(test[group.ensemble], point, bootstrap=bootstrap)
    return {
        "ensemble": ensemble,
        "members": members,
        "operating_point": choice.to_json(),
        "weights": {name: member.weight for name, member in group.members.items()},
        "temperatures": {name: member.temperature for name, member in group.members.items()},
        "robustness": {
            name: {
                **point_metrics(statistics[group.ensemble], point, bootstrap),
                "image": image_metrics(statistics[group.ensemble], point, bootstrap),
            }
            for name, statistics in degraded.items()
        },
    }


def comparisons(
    groups: Sequence[Group[Member]],
    val: Mapping[str, PixelStatistics],
    test: Mapping[str, PixelStatistics],
    choices: Mapping[str, Choice],
    settings: RegionsEvaluate,
) -> list[dict[str, Any]]:
    """Compare every later group with the first: ensembles, members of equal name, and at equal recall."""
    first = groups[0]
    return [
        {
            "first": first.name,
            "second": second.name,
            "ensemble": _paired(first.ensemble, second.ensemble, test, choices, settings.bootstrap),
            "members": {
                name: _paired(member.name, second.members[name].name, test, choices, settings.bootstrap)
                for name, member in first.members.items()
                if name in second.members
            },
            "equal_recall": _equal_recall(first, second, val, test, choices, settings),
        }
        for second in groups[1:]
    ]


def _paired(
    first: str,
    second: str,
    test: Mapping[str, PixelStatistics],
    choices: Mapping[str, Choice],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    return paired_differences(test[first], point_of(choices[first]), test[second], point_of(choices[second]), bootstrap)


def _equal_recall(
    first: Group[Member],
    second: Group[Member],
    val: Mapping[str, PixelStatistics],
    test: Mapping[str, PixelStatistics],
    choices: Mapping[str, Choice],
    settings: RegionsEvaluate,
) -> list[dict[str, Any]]:
    """Compare at the first group's own recall on val, and at those of the recipe; image-wise and pixel-wise."""
    names = {first.name: first.ensemble, second.name: second.ensemble}
    choice = choices[first.ensemble]
    own: dict[RecallKind, float] = {
        "image": choice.figures["forged_recall"],
        "pixel": choice.figures["pixel_recall"],
    }
    compared = []
    for kind, recall in product(KINDS, (None, *settings.recalls)):
        result = fpr_at_equal_recall(
            {name: val[key] for name, key in names.items()},
            {name: test[key] for name, key in names.items()},
            kind=kind,
            recall=own[kind] if recall is None else recall,
            min_area_fraction=point_of(choice).min_area_fraction,
            bootstrap=settings.bootstrap,
        )
        compared.append({**result, "own_recall_of": first.name if recall is None else None})
    return compared
