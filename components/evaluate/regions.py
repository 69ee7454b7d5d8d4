"""The evaluation of networks that mark regions: operating points chosen on val, then test read once and measured."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluate.common import METRICS_FILE, EvaluationSummary, Request, check_splits
from components.evaluate.figures import comparisons, group_figures
from components.evaluate.groups import Group, load_groups
from components.evaluate.passes import Passes, Statistics
from components.evaluate.report import write_report
from components.evaluate.table import Judgement, write_table
from core.errors import SettingsError
from core.files import write_text
from data.index import REJECTED_FILE, REPORT_FILE, read_index
from data.shards import ShardReader
from judging.members import load_member
from judging.operating_point import Choice
from judging.predict import ENSEMBLE, Member

TABLE_FILE = "per_image.parquet"
SUMMARY = ("f1", "iou", "oracle_f1", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


def evaluate_regions(request: Request) -> EvaluationSummary:
    """Judge groups of models on the test split of one data set and write what was measured; see ``evaluate``."""
    if len(request.datasets) > 1:
        raise SettingsError(
            f"{len(request.datasets)} data sets were given; models that mark regions are judged on one at a time"
        )
    (dataset,), recipe, output = request.datasets, request.recipe, request.output
    index = read_index(dataset)
    fit_index = index if request.fit_dataset == dataset else read_index(request.fit_dataset)
    test, val = index.where(split="test"), fit_index.where(split="val")
    check_splits(test, val, dataset, request.fit_dataset)
    device, indexes = recipe.judging.torch_device(), [index, fit_index]
    groups = load_groups(request.models, recipe, lambda path: load_member(path, device, indexes=indexes))
    passes = Passes(groups, recipe)
    val_statistics, choices = passes.choose(val, ShardReader(fit_index.shards, request.cache))
    reader = ShardReader(index.shards, request.cache)
    test_statistics, gallery = passes.measure(test, reader, choices)
    degraded = {name: passes.degrade(test, reader, name) for name in recipe.degradations}
    metrics: dict[str, Any] = {
        "dataset": {"sha256": index.sha256, "split": "test", "samples": len(test), "rejected": len(passes.rejections)},
        "fit_dataset": {"sha256": fit_index.sha256, "split": "val", "samples": len(val)},
        "recipe": recipe.model_dump(mode="json"),
        "groups": {
            group.name: group_figures(group, test_statistics, degraded, choices, recipe.bootstrap) for group in groups
        },
        "comparisons": comparisons(groups, val_statistics, test_statistics, choices, recipe),
    }
    write_text(output / METRICS_FILE, json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    write_table(output / TABLE_FILE, _judgements(groups, test_statistics, choices))
    passes.rejections.write(output / REJECTED_FILE)
    write_report(output / REPORT_FILE, metrics, groups, choices, test_statistics, gallery)
    ensembles = {group.name: metrics["groups"][group.name]["ensemble"] for group in groups}
    return EvaluationSummary(
        groups={
            name: {**{key: figures[key] for key in SUMMARY}, "image_auc": figures["image"]["auc"]}
            for name, figures in ensembles.items()
        },
        judged=len(test_statistics[groups[0].ensemble]),
        rejected=len(passes.rejections),
    )


def _judgements(
    groups: Sequence[Group[Member]], statistics: Statistics, choices: Mapping[str, Choice]
) -> list[Judgement]:
    judgements: list[Judgement] = []
    for group in groups:
        names = {**{name: member.name for name, member in group.members.items()}, ENSEMBLE: group.ensemble}
        judgements += [(group.name, name, statistics[key], choices[key].point) for name, key in names.items()]
    return judgements
