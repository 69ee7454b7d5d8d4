"""The evaluation: operating points chosen on val, then test read once and measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluate.figures import comparisons, group_figures
from components.evaluate.groups import Group, load_groups
from components.evaluate.passes import Passes, Statistics
from components.evaluate.recipe import EvaluateRecipe
from components.evaluate.report import write_report
from components.evaluate.table import Judgement, write_table
from components.judging.guard import SplitLeakError
from components.judging.operating_point import Choice
from components.judging.predict import ENSEMBLE
from media.errors import BadInputError
from media.files import write_text
from media.index import REJECTED_FILE, REPORT_FILE, SampleIndex, read_index
from media.shards import ShardReader

METRICS_FILE = "metrics.json"
TABLE_FILE = "per_image.parquet"
SUMMARY = ("f1", "iou", "oracle_f1", "authentic_fpr", "authentic_fp_fraction", "forged_recall")


@dataclass(frozen=True)
class EvaluationSummary:
    """The main figures of each group's ensemble by name, None where not defined; and how many pictures were judged."""

    groups: Mapping[str, Mapping[str, float | None]]
    judged: int
    rejected: int


def evaluate(
    dataset: Path,
    models: Mapping[str, Sequence[Path]],
    output: Path,
    recipe: EvaluateRecipe,
    *,
    fit_dataset: Path | None = None,
    cache: Path | None = None,
) -> EvaluationSummary:
    """Judge groups of models on the test split and write what was measured.

    Args:
        dataset: index folder whose test split is judged.
        models: model folders or checkpoints by group, such as ``{"v3": [...], "v4": [...]}``; each group is judged as
            an ensemble and member by member, and later groups are compared with the first.
        output: folder to write: ``metrics.json``, ``per_image.parquet``, ``rejected.jsonl`` and ``report.html``.
        recipe: how to judge.
        fit_dataset: index folder whose val split the operating points are chosen on, when it is not ``dataset``: a
            data set that only tests has none.
        cache: folder for shards fetched from S3.

    Raises:
        BadInputError: ``empty-split`` when there is no test or val picture, ``empty-class`` when val lacks a class;
            others when a data set or model cannot be read.
        SplitLeakError: when a test picture is also in the split that the operating points are chosen on.
        MismatchError: when a model and a data set differ in how pixels were extracted.
    """
    index = read_index(dataset)
    fit_index = read_index(fit_dataset) if fit_dataset else index
    test, val = index.where(split="test"), fit_index.where(split="val")
    _check(test, val, dataset, fit_dataset or dataset)
    groups = load_groups(models, recipe, recipe.judging.torch_device(), [index, fit_index])
    passes = Passes(groups, recipe)
    val_statistics, choices = passes.choose(val, ShardReader(fit_index.shards, cache))
    reader = ShardReader(index.shards, cache)
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


def _check(test: SampleIndex, val: SampleIndex, dataset: Path, fit_dataset: Path) -> None:
    if not len(test):
        raise BadInputError(
            "empty-split", f"{dataset} has no test pictures; extract it with a test split, or all of it as test"
        )
    if not len(val):
        raise BadInputError(
            "empty-split",
            f"{fit_dataset} has no val pictures to choose an operating point on; give the data set that the models "
            "were trained on as fit_dataset",
        )
    shared = set(test.column("sample_id")) & set(val.column("sample_id"))
    if shared:
        raise SplitLeakError(
            f"{len(shared)} pictures of {dataset} (test) are in {fit_dataset} (val), such as {min(shared)}; "
            "extract them with the same splits"
        )


def _judgements(groups: Sequence[Group], statistics: Statistics, choices: Mapping[str, Choice]) -> list[Judgement]:
    judgements: list[Judgement] = []
    for group in groups:
        names = {**{name: member.name for name, member in group.members.items()}, ENSEMBLE: group.ensemble}
        judgements += [(group.name, name, statistics[key], choices[key].point) for name, key in names.items()]
    return judgements
