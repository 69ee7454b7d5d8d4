"""The evaluation of networks that mark regions: everything is chosen on val, then each test split is read once.

Groups are the bundle, judged as it is served, what is released at present, and the models of earlier stages.
"""

import json
from collections.abc import Mapping
from typing import Any

from core.files import write_text
from data.index import REJECTED_FILE, REPORT_FILE
from data.shards import ShardReader
from judging.collect import Rejections
from tasks.evaluation import METRICS_FILE
from tasks.groups import load_groups
from tasks.regions.evaluation_figures import comparisons, group_figures
from tasks.regions.evaluation_passes import Measured, Passes
from tasks.regions.evaluation_report import write_report
from tasks.regions.evaluation_table import Model, write_table
from tasks.regions.fitting import FittedGroups, fit_groups
from tasks.regions.loading import TASK_NAME, exported_member, load_member
from tasks.regions.operating_point import point_of
from tasks.regions.settings import RegionsEvaluate
from tasks.splits import read_data
from tasks.task import EvaluationRequest, EvaluationSummary

TABLE_FILE = "per_image.parquet"
SUMMARY = ("f1", "iou", "oracle_f1", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


def evaluate(request: EvaluationRequest) -> EvaluationSummary:
    """Evaluate bundles and groups of models on the test splits of data sets and write what was measured.

    Raises:
        SettingsError: when two data sets have one name, or there is nothing to evaluate.
        BadInputError: ``empty-split`` when there is no test or val picture, ``empty-class`` when val lacks a class;
            others when a data set or model cannot be read.
        SplitLeakError: when a test picture is also in the split that the operating points are chosen on.
        MismatchError: when a model cannot read a data set.
    """
    settings, output = request.settings, request.output
    assert isinstance(settings, RegionsEvaluate)  # noqa: S101 - the task's own, as the component validates them
    data, device = read_data(request), settings.inference.torch_device()
    groups = load_groups(request, lambda path: load_member(path, device, indexes=data.indexes), exported_member)
    rejections = Rejections()
    fitted = fit_groups(groups, data.val, ShardReader(data.val.shards, request.cache), settings, rejections)
    passes = Passes(fitted, settings, request.cache, rejections)
    measured = {name: passes.measure(test, name) for name, test in data.tests.items()}
    degraded = {name: passes.degrade(data.tests[data.main], name) for name in settings.degradations}
    test = {name: one.statistics for name, one in measured.items()}
    metrics: dict[str, Any] = {
        "task": TASK_NAME,
        **request.identities,
        "main_dataset": data.main,
        "datasets": {
            name: {"sha256": index.sha256, "split": "test", "samples": len(index)} for name, index in data.tests.items()
        },
        "fit_dataset": {"sha256": data.fit.sha256, "split": "val", "samples": len(data.val)},
        "rejected": len(rejections),
        "recipe": settings.model_dump(mode="json"),
        "groups": {
            group.name: group_figures(group, test, degraded, fitted.choices, settings.bootstrap)
            for group in fitted.groups
        },
        "comparisons": comparisons(fitted, test, settings),
    }
    write_text(output / METRICS_FILE, json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    write_table(output / TABLE_FILE, _models(fitted, measured))
    rejections.write(output / REJECTED_FILE)
    write_report(output / REPORT_FILE, metrics, fitted, measured)
    ensembles = {name: group["ensemble"]["datasets"][data.main] for name, group in metrics["groups"].items()}
    return EvaluationSummary(
        groups={
            name: {**{key: figures[key] for key in SUMMARY}, "image_auc": figures["image"]["auc"]}
            for name, figures in ensembles.items()
        },
        evaluated=sum(len(statistics[groups[0].ensemble]) for statistics in test.values()),
        rejected=len(rejections),
    )


def _models(fitted: FittedGroups, measured: Mapping[str, Measured]) -> list[Model]:
    return [
        Model(dataset, group.name, name, one.statistics[key], point_of(fitted.choices[key]))
        for dataset, one in measured.items()
        for group in fitted.groups
        for name, key in group.all_keys.items()
    ]
