"""The model artifact: what a finished run leaves in its output folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.train.recipe import TrainRecipe
from components.train.report import write_report
from components.train.state import RunState
from core.files import sha256_file, write_text
from core.storage import open_store
from judging.members import MODEL_FILE
from models.checkpoint import checkpoint_name

LOG_FILE = "log.jsonl"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class TrainSummary:
    """What a run came to.

    Attributes:
        checkpoint: the best epoch's checkpoint.
        report: the HTML page.
        sha256: of the checkpoint.
        epoch: the best one, from 1.
        epochs: how many were trained.
        metrics: of the best epoch on val.
    """

    checkpoint: Path
    report: Path
    sha256: str
    epoch: int
    epochs: int
    metrics: dict[str, float]


def write_artifact(
    output: Path, recipe: TrainRecipe, state: RunState, lines: Sequence[Mapping[str, Any]], upload: str | None
) -> None:
    """Write the best checkpoint, ``model.json`` and ``report.html`` beside the log.

    Args:
        output: the folder, which holds the log already.
        recipe: the run's.
        state: holds the best checkpoint.
        lines: of the epoch log.
        upload: a folder or ``s3://`` prefix to copy the files to, or None.

    Raises:
        StorageError: when a file cannot be written or uploaded.
    """
    best = [line for line in lines if line["best"]][-1]
    checkpoint = output / checkpoint_name(recipe.member, recipe.stage)
    state.fetch_best(best["epoch"], checkpoint)
    write_report(output / REPORT_FILE, recipe, lines)
    document = {
        "member": recipe.member,
        "stage": recipe.stage,
        "family": recipe.family,
        "checkpoint": checkpoint.name,
        "sha256": sha256_file(checkpoint),
        "epoch": best["epoch"],
        "epochs": lines[-1]["epoch"],
        "metrics": best["val"],
        "recipe": recipe.model_dump(mode="json"),
    }
    write_text(output / MODEL_FILE, json.dumps(document, indent=2, sort_keys=True) + "\n")
    if upload:
        store = open_store(upload)
        # The document comes last: where it is, the rest is.
        for name in (checkpoint.name, LOG_FILE, REPORT_FILE, MODEL_FILE):
            store.upload(output / name, name)


def read_summary(output: Path) -> TrainSummary:
    """Return the summary of a finished run from its output folder."""
    document = json.loads((output / MODEL_FILE).read_text(encoding="utf-8"))
    return TrainSummary(
        checkpoint=output / document["checkpoint"],
        report=output / REPORT_FILE,
        sha256=document["sha256"],
        epoch=document["epoch"],
        epochs=document["epochs"],
        metrics=document["metrics"],
    )
