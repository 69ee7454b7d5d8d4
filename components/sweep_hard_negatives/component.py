"""The sweep, declared to KFP."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def sweep_hard_negatives(
    dataset: Input[Dataset],
    model: Input[Model],
    recipe: str,
    hard_negatives: Output[Dataset],
    report: Output[HTML],
    metrics: Output[Metrics],
) -> None:
    """Find the authentic train pictures that a model takes for forged."""
    import shutil
    from pathlib import Path

    from components.sweep_hard_negatives.recipe import SweepRecipe
    from components.sweep_hard_negatives.sweep import sweep_hard_negatives as run
    from core.settings import parse

    output = Path(hard_negatives.path)
    summary = run(Path(dataset.path), Path(model.path), output, parse(SweepRecipe, recipe, "recipe"))
    shutil.copyfile(output / "report.html", report.path)
    hard_negatives.metadata.update(samples=summary.hard_negatives, searched=summary.searched)
    metrics.log_metric("hard_negatives", summary.hard_negatives)
    metrics.log_metric("searched", summary.searched)
    metrics.log_metric("threshold", summary.point.threshold)
    metrics.log_metric("min_area_fraction", summary.point.min_area_fraction)
