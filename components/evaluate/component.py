"""The evaluation step, declared to KFP."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def evaluate(
    dataset: Input[Dataset],
    recipe: str,
    v3: Input[list[Model]],
    v4: Input[list[Model]],
    evaluation: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
    fit_dataset: Input[Dataset] = None,
) -> None:
    """Judge two generations of models side by side on the test split."""
    import shutil
    from pathlib import Path

    from components.evaluate.evaluate import evaluate as run
    from components.evaluate.recipe import EvaluateRecipe
    from media.settings import parse

    output = Path(evaluation.path)
    models = {name: [Path(model.path) for model in given] for name, given in (("v3", v3), ("v4", v4))}
    fit = Path(fit_dataset.path) if fit_dataset else None
    summary = run(Path(dataset.path), models, output, parse(EvaluateRecipe, recipe, "recipe"), fit_dataset=fit)
    shutil.copyfile(output / "report.html", report.path)
    for group, figures in summary.groups.items():
        for name, value in figures.items():
            if value is not None:
                metrics.log_metric(f"{group}_{name}", value)
