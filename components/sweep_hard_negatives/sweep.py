"""The sweep: what a model takes for manipulated among the authentic samples of train, found as its task does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import SettingsError
from core.settings import validate
from judging.members import task_of
from tasks.task import TASKS, SweepRequest, SweepSummary


def sweep_hard_negatives(
    dataset: Path,
    model: Path,
    output: Path,
    recipe: Mapping[str, Any],
    *,
    cache: Path | None = None,
    store: str = "",
    part: int | None = None,
) -> SweepSummary | None:
    """Write the index of a model's hard negatives, and what was chosen on val.

    Args:
        dataset: index folder.
        model: model folder or checkpoint.
        output: folder to write: an index folder with ``hard_negatives.txt`` (a sample id a line, hardest first) and
            ``report.html``.
        recipe: what to look for: keys and values of the ``sweep_settings`` of the model's task.
        cache: folder for shards fetched from S3.
        store: URI under which finished parts are kept, for a retry and for the whole; empty keeps them not.
        part: which of the recipe's ``parts`` to do, from 0: it is left in ``store``, nothing is written and None
            returned. None does what is missing of all and writes the list.

    Raises:
        BadInputError: ``empty-class`` when val lacks a class, ``empty-split`` when train has nothing authentic; others
            when dataset or model cannot be read.
        SettingsError: when the model's task has no sweep, the recipe is wrong, or there is no such part.
        MismatchError: when the model cannot read the data set.
    """
    task = TASKS.get(task_of(model))
    if task.sweep is None or task.sweep_settings is None:
        raise SettingsError(f"{model} is of task {task.name}, which has no sweep for hard negatives")
    settings = validate(task.sweep_settings, recipe, "recipe")
    return task.sweep(SweepRequest(dataset, model, output, settings, cache, store, part))
