"""The sweep as a step of a pipeline."""

import shutil
from pathlib import Path
from typing import Any

from components.sweep_hard_negatives.sweep import sweep_hard_negatives
from core.files import write_text
from core.settings import parse_mapping
from data.index import REPORT_FILE


def sweep_artifact(
    dataset: str, model: str, hard_negatives: str, recipe: str, report: str, store: str = "", part: int = -1
) -> tuple[dict[str, int], dict[str, Any]]:
    """Search for hard negatives and return what is noted on the artifact, and its metrics.

    Args:
        dataset: folder of the sample index.
        model: folder of the model to search with.
        hard_negatives: folder to write.
        recipe: settings of the model's task as JSON.
        report: file to write the report to.
        store: URI under which finished parts are kept; empty keeps them not.
        part: which part to do alone, from 0; -1 does what is missing of all and makes the list.

    Raises:
        VeriframeError: as ``sweep_hard_negatives``.
    """
    output = Path(hard_negatives)
    only = None if part < 0 else part
    settings = parse_mapping(recipe, "recipe")
    summary = sweep_hard_negatives(Path(dataset), Path(model), output, settings, store=store, part=only)
    if summary is None:
        output.mkdir(parents=True, exist_ok=True)
        write_text(Path(report), f"<p>Part {part} is kept in the store.</p>\n")
        return {}, {}
    shutil.copyfile(output / REPORT_FILE, report)
    noted = {"samples": summary.hard_negatives, "searched": summary.searched}
    figures = {"hard_negatives": summary.hard_negatives, "searched": summary.searched, **summary.decision.model_dump()}
    return noted, figures
