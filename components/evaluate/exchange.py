"""The evaluation as a step of a pipeline: what it measures it fetches from where earlier steps kept it."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.evaluate.evaluate import evaluate
from components.lineage import groups
from core.artifacts import fetch_all
from core.settings import parse_mapping


def evaluate_artifact(
    dataset: str, others: str, models: Sequence[str], evaluation: str, recipe: str, report: str
) -> dict[str, float]:
    """Evaluate the models of all stages and return the figures of each stage's ensemble, as ``<stage>_<figure>``.

    Args:
        dataset: folder of the sample index that decides.
        others: addresses of further ones.
        models: folders of the models of the last stage.
        evaluation: folder to write.
        recipe: settings of the models' task as JSON.
        report: file to write the report to.

    Raises:
        VeriframeError: as ``evaluate``, and when something cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="veriframe-evaluate-") as folder:
        datasets = [Path(dataset), *fetch_all(others, Path(folder) / "datasets")]
        found = groups([Path(model) for model in models], Path(folder) / "models")
        summary = evaluate(datasets, found, Path(evaluation), parse_mapping(recipe, "recipe"))
    shutil.copyfile(f"{evaluation}/report.html", report)
    return {
        f"{group}_{name}": value
        for group, figures in summary.groups.items()
        for name, value in figures.items()
        if value is not None
    }
