"""The evaluation: what is chosen is chosen on val, then test is read once and measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import SettingsError
from core.settings import validate
from judging.members import task_of
from tasks.task import TASKS, EvaluationRequest, EvaluationSummary


def evaluate(
    dataset: Path | Sequence[Path],
    models: Mapping[str, Sequence[Path]],
    output: Path,
    recipe: Mapping[str, Any],
    *,
    fit_dataset: Path | None = None,
    cache: Path | None = None,
) -> EvaluationSummary:
    """Evaluate groups of models on test splits and write what was measured.

    Args:
        dataset: index folder whose test split is read, or several where the models' task takes several; the first is
            the one that decides on a release.
        models: model folders or checkpoints by group, such as ``{"v3": [...], "v4": [...]}``, all of one task; each
            group is evaluated as an ensemble and member by member, and later groups are compared with earlier ones.
        output: folder to write: ``metrics.json``, ``per_image.parquet`` or ``per_medium.parquet``, ``rejected.jsonl``
            and ``report.html``.
        recipe: how to evaluate: keys and values of the ``evaluate_settings`` of the models' task.
        fit_dataset: index folder whose val split the operating points are chosen on, when it is not the first
            ``dataset``: a data set that only tests has none.
        cache: folder for shards fetched from S3.

    Raises:
        BadInputError: ``empty-split`` when there is no test or val picture, ``empty-class`` when val lacks a class,
            ``wrong-task`` when the models are of several tasks; others when a data set or model cannot be read.
        SettingsError: when there is no data set or model, several data sets for models that take one, or the recipe
            is wrong.
        SplitLeakError: when a test picture is also in the split that the operating points are chosen on.
        MismatchError: when a model cannot read a data set.
    """
    datasets = [dataset] if isinstance(dataset, Path) else list(dataset)
    first = next((path for paths in models.values() for path in paths), None)
    if not datasets or first is None:
        raise SettingsError("no data set to evaluate on" if first else "no model to evaluate")
    task = TASKS.get(task_of(first))
    settings = validate(task.evaluate_settings, recipe, "recipe")
    return task.evaluate(EvaluationRequest(datasets, models, output, settings, fit_dataset or datasets[0], cache))
