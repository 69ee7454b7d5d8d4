"""Which models a model was trained from, stage after stage, and where these are kept.

A model's folder carries the list, so that whoever has the models of the last stage finds those of all stages.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.artifacts import fetch, keep
from core.errors import BadInputError
from core.files import write_text
from core.storage import join
from judging.members import MODEL_FILE

LINEAGE_FILE = "lineage.json"  # a list of {"stage", "address"} of the stages before, and this one's where kept


def record(model: Path, base: Path | None, models: str) -> None:
    """Write a model's lineage into its folder.

    Args:
        model: folder of a trained model.
        base: folder of the model that it was trained from, if any.
        models: URI under which this model is kept for whoever evaluates all stages; "" keeps it not.

    Raises:
        BadInputError: when ``model`` is no output of the training step.
        StorageError: when the store cannot be written.
    """
    lineage = _read(base) if base else []
    _write(model, lineage)
    if models:
        document = _document(model)
        place = join(models, f"{document['member']}_{document['stage']}")
        _write(model, [*lineage, {"stage": document["stage"], "address": keep(model, place)}])


def earlier_stages(models: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """Return the models of the stages before by stage, in their order.

    Args:
        models: folders of the models of the last stage.
        folder: where those of earlier stages are fetched to.

    Raises:
        BadInputError: when a folder is no model's.
        MismatchError: when what is kept of a stage is not what it was.
        StorageError: when it cannot be fetched.
    """
    found: dict[str, list[Path]] = {}
    for model in models:
        stage = _document(model)["stage"]
        for earlier in _read(model):
            if earlier["stage"] != stage:
                found.setdefault(earlier["stage"], []).append(fetch(earlier["address"], folder))
    return found


def _document(model: Path) -> dict[str, Any]:
    path = model / MODEL_FILE
    if not path.is_file():
        raise BadInputError("no-model", f"{model} holds no {MODEL_FILE}; it is no output of the training step")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _read(model: Path) -> list[dict[str, str]]:
    path = model / LINEAGE_FILE
    lineage: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return lineage


def _write(model: Path, lineage: Sequence[Mapping[str, str]]) -> None:
    write_text(model / LINEAGE_FILE, json.dumps(lineage, indent=2) + "\n")
