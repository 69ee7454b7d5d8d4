"""The evaluation: what is chosen is chosen on val, then test is read once and measured."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import VerifiedBundle, read_bundle
from components.evaluate.bundles import fetch_current, open_bundle, require_bundle, unsuitable
from components.evaluate.figures import render_figures
from core.errors import SettingsError
from core.files import write_text
from core.settings import validate
from judging.members import task_of
from tasks.evaluation import FIGURES_FILE, read_evaluation
from tasks.settings import EvaluateSettings
from tasks.task import BUNDLE, CURRENT, TASKS, EvaluationRequest, EvaluationSummary, ExportedBundle


def evaluate(
    dataset: Path | Sequence[Path],
    models: Mapping[str, Sequence[Path]],
    output: Path,
    recipe: Mapping[str, Any],
    *,
    bundle: Path | None = None,
    store: str = "",
    fit_dataset: Path | None = None,
    cache: Path | None = None,
) -> EvaluationSummary:
    """Evaluate a bundle, and groups of models beside it, on test splits and write what was measured.

    The bundle is judged through a runtime that serves it, with its own temperatures, weights and decisions; nothing is
    chosen for it. The models of each group are fitted on val as an export would fit them.

    Args:
        dataset: index folder whose test split is read, or several; the first is the one that decides on a release.
        models: model folders or checkpoints by group, such as ``{"v3": [...]}``, all of the bundle's task; each group
            is evaluated as an ensemble and member by member.
        output: folder to write: ``metrics.json``, ``per_image.parquet`` or ``per_medium.parquet``, ``rejected.jsonl``
            and ``report.html``; of a bundle ``figures.md`` too.
        recipe: how to evaluate: keys and values of the ``evaluate_settings`` of the task.
        bundle: folder that the export wrote; publication needs the figures of one.
        store: URI under which ``releases/`` lies: what is released there at present under the bundle's name is judged
            too, on the same media; "" leaves it out.
        fit_dataset: index folder whose val split is chosen on, when it is not the first ``dataset``: a data set that
            only tests has none.
        cache: folder for shards fetched from S3.

    Raises:
        BadInputError: ``empty-split`` when there is no test or val picture, ``empty-class`` when val lacks a class,
            ``wrong-task`` when the models are of several tasks; others when a data set or model cannot be read.
        SettingsError: when there is no data set, or neither bundle nor model, or the recipe is wrong.
        SplitLeakError: when a test picture is also in the split that is chosen on.
        MismatchError: when a bundle or a model cannot read a data set, or a file of a bundle was altered.
        StorageError: when the store cannot be read.
    """
    datasets = [dataset] if isinstance(dataset, Path) else list(dataset)
    verified = None if bundle is None else read_bundle(bundle)
    first = next((path for paths in models.values() for path in paths), None)
    if not datasets or (first is None and verified is None):
        raise SettingsError("no model to evaluate" if datasets else "no data set to evaluate on")
    task = TASKS.get(verified.document.task if verified else task_of(first or Path()))
    settings = validate(task.evaluate_settings, recipe, "recipe")
    fit = fit_dataset or datasets[0]
    bundles, left_out = _open(verified, store, settings, [*datasets, fit])
    request = EvaluationRequest(datasets, models, output, settings, fit, cache, bundles, left_out)
    summary = task.evaluate(request)
    if verified:
        write_text(output / FIGURES_FILE, render_figures(verified.document.name, read_evaluation(output)))
    return summary


def _open(
    bundle: VerifiedBundle | None, store: str, settings: EvaluateSettings, datasets: Sequence[Path]
) -> tuple[dict[str, ExportedBundle], str]:
    """Return the bundles that are judged, and why what is released at present is not among them."""
    if bundle is None:
        return {}, ""
    require_bundle(bundle, datasets)
    judged, left_out = {BUNDLE: open_bundle(bundle, settings)}, ""
    with tempfile.TemporaryDirectory(prefix="veriframe-current-") as folder:
        current = fetch_current(store, bundle, Path(folder)) if store else None
        if current is not None:
            left_out = unsuitable(current, bundle, datasets)
            if not left_out:
                judged[CURRENT] = open_bundle(current, settings)
    return judged, left_out
