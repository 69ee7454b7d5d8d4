"""The evaluation of networks that mark regions: operating points chosen on val, then test read once and measured."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import SettingsError
from core.files import write_text
from data.index import REJECTED_FILE, REPORT_FILE, read_index
from data.shards import ShardReader
from judging.choice import Choice
from tasks.evaluation import METRICS_FILE
from tasks.groups import Group, load_groups
from tasks.regions.evaluation_figures import comparisons, group_figures
from tasks.regions.evaluation_passes import Passes, Statistics
from tasks.regions.evaluation_report import write_report
from tasks.regions.evaluation_table import Model, write_table
from tasks.regions.loading import TASK_NAME, load_member
from tasks.regions.operating_point import point_of
from tasks.regions.prediction import Member
from tasks.regions.settings import RegionsEvaluate
from tasks.splits import check_splits
from tasks.task import ENSEMBLE, EvaluationRequest, EvaluationSummary

TABLE_FILE = "per_image.parquet"
SUMMARY = ("f1", "iou", "oracle_f1", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


def evaluate(request: EvaluationRequest) -> EvaluationSummary:
    """Evaluate groups of models on the test split of one data set and write what was measured.

    Raises:
        SettingsError: when several data sets are given, or the settings name a member that is not there.
        BadInputError: ``empty-split`` when there is no test or val picture, ``empty-class`` when val lacks a class;
            others when a data set or model cannot be read.
        SplitLeakError: when a test picture is also in the split that the operating points are chosen on.
        MismatchError: when a model cannot read a data set.
    """
    settings = request.settings
    assert isinstance(settings, RegionsEvaluate)  # noqa: S101 - the task's own, as the component validates them
    if len(request.datasets) > 1:
        raise SettingsError(
            f"{len(request.datasets)} data sets were given; models that mark regions are evaluated on one at a time"
        )
    (dataset,), output = request.datasets, request.output
    index = read_index(dataset)
    fit_index = index if request.fit_dataset == dataset else read_index(request.fit_dataset)
    test, val = index.where(split="test"), fit_index.where(split="val")
    check_splits(test, val, dataset, request.fit_dataset)
    device, indexes = settings.judging.torch_device(), [index, fit_index]
    groups = load_groups(request.models, settings, lambda path: load_member(path, device, indexes=indexes))
    passes = Passes(groups, settings)
    val_statistics, choices = passes.choose(val, ShardReader(fit_index.shards, request.cache))
    reader = ShardReader(index.shards, request.cache)
    test_statistics, gallery = passes.measure(test, reader, choices)
    degraded = {name: passes.degrade(test, reader, name) for name in settings.degradations}
    metrics: dict[str, Any] = {
        "task": TASK_NAME,
        "dataset": {"sha256": index.sha256, "split": "test", "samples": len(test), "rejected": len(passes.rejections)},
        "fit_dataset": {"sha256": fit_index.sha256, "split": "val", "samples": len(val)},
        "recipe": settings.model_dump(mode="json"),
        "groups": {
            group.name: group_figures(group, test_statistics, degraded, choices, settings.bootstrap) for group in groups
        },
        "comparisons": comparisons(groups, val_statistics, test_statistics, choices, settings),
    }
    write_text(output / METRICS_FILE, json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    write_table(output / TABLE_FILE, _models(groups, test_statistics, choices))
    passes.rejections.write(output / REJECTED_FILE)
    write_report(output / REPORT_FILE, metrics, groups, choices, test_statistics, gallery)
    ensembles = {group.name: metrics["groups"][group.name]["ensemble"] for group in groups}
    return EvaluationSummary(
        groups={
            name: {**{key: figures[key] for key in SUMMARY}, "image_auc": figures["image"]["auc"]}
            for name, figures in ensembles.items()
        },
        evaluated=len(test_statistics[groups[0].ensemble]),
        rejected=len(passes.rejections),
    )


def _models(groups: Sequence[Group[Member]], statistics: Statistics, choices: Mapping[str, Choice]) -> list[Model]:
    models: list[Model] = []
    for group in groups:
        names = {**{name: member.name for name, member in group.members.items()}, ENSEMBLE: group.ensemble}
        models += [(group.name, name, statistics[key], point_of(choices[key])) for name, key in names.items()]
    return models
