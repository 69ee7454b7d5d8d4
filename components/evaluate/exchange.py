"""The evaluation as a step of a pipeline: what it measures it fetches from where earlier steps kept it."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.evaluate.evaluate import evaluate
from components.lineage import earlier_stages
from core.artifacts import fetch_all
from core.settings import parse_mapping


def evaluate_artifact(
    dataset: str, others: str, models: Sequence[str], bundle: str, store: str, evaluation: str, recipe: str, report: str
) -> dict[str, float]:
    """Evaluate a bundle and the models of the stages before; return figures of ensembles, as ``<group>_<figure>``.

    Args:
        dataset: folder of the sample index that decides.
        others: addresses of further ones.
        models: folders of the models of the last stage, which the bundle was made of.
        bundle: folder of the bundle.
        store: URI under which ``releases/`` lies.
        evaluation: folder to write.
        recipe: settings of the models' task as JSON.
        report: file to write the report to.

    Raises:
        VeriframeError: as ``evaluate``, and when something cannot be fetched.
    """
    settings, output = parse_mapping(recipe, "recipe"), Path(evaluation)
    with tempfile.TemporaryDirectory(prefix="veriframe-evaluate-") as folder:
        datasets = [Path(dataset), *fetch_all(others, Path(folder) / "datasets")]
        found = earlier_stages([Path(model) for model in models], Path(folder) / "models")
        summary = evaluate(datasets, found, output, settings, bundle=Path(bundle), store=store)
    shutil.copyfile(f"{evaluation}/report.html", report)
    return {
        f"{group}_{name}": value
        for group, figures in summary.groups.items()
        for name, value in figures.items()
        if value is not None
    }
