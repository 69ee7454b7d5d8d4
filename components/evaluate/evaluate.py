"""The evaluation: what is chosen is chosen on val, then test is read once and measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from components.evaluate.common import EvaluationSummary, Request
from components.evaluate.faces import evaluate_faces
from components.evaluate.recipe import EvaluateRecipe
from components.evaluate.regions import evaluate_regions
from core.errors import SettingsError
from judging.members import describe_model


def evaluate(
    dataset: Path | Sequence[Path],
    models: Mapping[str, Sequence[Path]],
    output: Path,
    recipe: EvaluateRecipe,
    *,
    fit_dataset: Path | None = None,
    cache: Path | None = None,
) -> EvaluationSummary:
    """Judge groups of models on test splits and write what was measured.

    Args:
        dataset: index folder whose test split is judged. Classifiers of faces take several, of which the first is the
            one that releases are judged by.
        models: model folders or checkpoints by group, such as ``{"v3": [...], "v4": [...]}``; each group is judged as
            an ensemble and member by member, and later groups are compared with earlier ones.
        output: folder to write: ``metrics.json``, ``per_image.parquet`` or ``per_medium.parquet``, ``rejected.jsonl``
            and ``report.html``.
        recipe: how to judge.
        fit_dataset: index folder whose val split the operating points are chosen on, when it is not the first
            ``dataset``: a data set that only tests has none.
        cache: folder for shards fetched from S3.

    Raises:
        BadInputError: ``empty-split`` when there is no test or val picture, ``empty-class`` when val lacks a class,
            ``wrong-task`` when the models are of several tasks; others when a data set or model cannot be read.
        SettingsError: when there is no data set or model, or several data sets for models that take one.
        SplitLeakError: when a test picture is also in the split that the operating points are chosen on.
        MismatchError: when a model and a data set differ in how pixels were extracted.
    """
    datasets = [dataset] if isinstance(dataset, Path) else list(dataset)
    first = next((path for paths in models.values() for path in paths), None)
    if not datasets or first is None:
        raise SettingsError("no data set to judge on" if first else "no model to evaluate")
    request = Request(datasets, models, output, recipe, fit_dataset or datasets[0], cache)
    faces = describe_model(first).task == "classification"
    return evaluate_faces(request) if faces else evaluate_regions(request)
