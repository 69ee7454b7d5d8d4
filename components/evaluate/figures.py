"""From statistics to the figures that ``metrics.json`` holds."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from components.evaluate.groups import Group
from components.evaluate.recipe import EvaluateRecipe
from judging.bootstrap import Bootstrap
from judging.comparison import RecallKind, fpr_at_equal_recall, paired_differences
from judging.metrics import image_metrics, point_metrics, segmentation_metrics
from judging.operating_point import Choice
from judging.predict import Member
from judging.statistics import PixelStatistics

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
        figures = segmentation_metrics(test[member.name], choices[member.name].point, bootstrap=bootstrap)
        members[name] = {**figures, "choice": choices[member.name].to_json()}
    choice = choices[group.ensemble]
    ensemble = segmentation_metrics(test[group.ensemble], choice.point, bootstrap=bootstrap)
    return {
        "ensemble": ensemble,
        "members": members,
        "operating_point": choice.to_json(),
        "weights": {name: member.weight for name, member in group.members.items()},
        "temperatures": {name: member.temperature for name, member in group.members.items()},
        "robustness": {
            name: {
                **point_metrics(statistics[group.ensemble], choice.point, bootstrap),
                "image": image_metrics(statistics[group.ensemble], choice.point, bootstrap),
            }
            for name, statistics in degraded.items()
        },
    }


def comparisons(
    groups: Sequence[Group[Member]],
    val: Mapping[str, PixelStatistics],
    test: Mapping[str, PixelStatistics],
    choices: Mapping[str, Choice],
    recipe: EvaluateRecipe,
) -> list[dict[str, Any]]:
    """Compare every later group with the first: ensembles, members of equal name, and at equal recall."""
    first = groups[0]
    return [
        {
            "first": first.name,
            "second": second.name,
            "ensemble": _paired(first.ensemble, second.ensemble, test, choices, recipe.bootstrap),
            "members": {
                name: _paired(member.name, second.members[name].name, test, choices, recipe.bootstrap)
                for name, member in first.members.items()
                if name in second.members
            },
            "equal_recall": _equal_recall(first, second, val, test, choices, recipe),
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
    return paired_differences(test[first], choices[first].point, test[second], choices[second].point, bootstrap)


def _equal_recall(
    first: Group[Member],
    second: Group[Member],
    val: Mapping[str, PixelStatistics],
    test: Mapping[str, PixelStatistics],
    choices: Mapping[str, Choice],
    recipe: EvaluateRecipe,
) -> list[dict[str, Any]]:
    """Compare at the first group's own recall on val, and at those of the recipe; image-wise and pixel-wise."""
    names = {first.name: first.ensemble, second.name: second.ensemble}
    choice = choices[first.ensemble]
    own: dict[RecallKind, float] = {
        "image": choice.figures["forged_recall"],
        "pixel": choice.figures["pixel_recall"],
    }
    compared = []
    for kind, recall in product(KINDS, (None, *recipe.recalls)):
        result = fpr_at_equal_recall(
            {name: val[key] for name, key in names.items()},
            {name: test[key] for name, key in names.items()},
            kind=kind,
            recall=own[kind] if recall is None else recall,
            min_area_fraction=choice.point.min_area_fraction,
            bootstrap=recipe.bootstrap,
        )
        compared.append({**result, "own_recall_of": first.name if recall is None else None})
    return compared
