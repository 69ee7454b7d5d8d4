"""The training as a step of a pipeline: its model carries its lineage, and may be kept at an address."""

import shutil
from pathlib import Path
from typing import Any, Protocol

from components.lineage import record
from components.train.recipe import TrainRecipe
from components.train.step import train
from core.settings import parse


class Artifact(Protocol):
    """What KFP hands over: a folder, by its path."""

    path: str


def train_artifact(
    dataset: str,
    model: str,
    recipe: str,
    report: str,
    state: str = "",
    models: str = "",
    base: Artifact | None = None,
    hard_negatives: Artifact | None = None,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train a model, record which models it was trained from, and return what is noted on the artifact and metrics.

    On a node that only takes part in another's run there is no model, and nothing is noted.

    Args:
        dataset: folder of the sample index.
        model: folder to write.
        recipe: ``TrainRecipe`` as JSON.
        report: file to write the report to.
        state: folder or ``s3://`` prefix of the step checkpoints; "" for one beside ``model``.
        models: URI under which the model is kept; "" keeps it not.
        base: the model to start from, if any.
        hard_negatives: an index of hard negatives, if any.

    Raises:
        VeriframeError: as ``train``, and when the model cannot be kept.
    """
    settings = parse(TrainRecipe, recipe, "recipe")
    start = Path(base.path) if base else None
    hard = Path(hard_negatives.path) if hard_negatives else None
    summary = train(Path(dataset), Path(model), settings, base=start, hard_negatives=hard, state=state or None)
    if summary is None:
        return {}, {}
    record(Path(model), start, models)
    shutil.copyfile(summary.report, report)
    noted = {"member": settings.member, "stage": settings.stage, "sha256": summary.sha256}
    return noted, summary.metrics
