"""The evaluation step, declared to KFP."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def evaluate(
    dataset: Input[Dataset],
    recipe: str,
    models: Input[list[Model]],
    evaluation: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
    models_2: Input[list[Model]] = None,
    models_3: Input[list[Model]] = None,
    models_4: Input[list[Model]] = None,
    dataset_2: Input[Dataset] = None,
    dataset_3: Input[Dataset] = None,
    dataset_4: Input[Dataset] = None,
    fit_dataset: Input[Dataset] = None,
) -> None:
    """Judge generations or stages of models side by side (KFP cannot make one list of several tasks' outputs)."""
    import shutil
    from pathlib import Path

    from components.evaluate.evaluate import evaluate as run
    from components.evaluate.groups import by_generation
    from components.evaluate.recipe import EvaluateRecipe
    from core.settings import parse

    found = by_generation([Path(m.path) for some in (models, models_2, models_3, models_4) for m in some or []])
    datasets = [Path(one.path) for one in (dataset, dataset_2, dataset_3, dataset_4) if one]
    settings, fit = parse(EvaluateRecipe, recipe, "recipe"), Path(fit_dataset.path) if fit_dataset else None
    summary = run(datasets, found, Path(evaluation.path), settings, fit_dataset=fit)
    shutil.copyfile(f"{evaluation.path}/report.html", report.path)
    for name, value in ((f"{g}_{n}", v) for g, one in summary.groups.items() for n, v in one.items() if v is not None):
        metrics.log_metric(name, value)
