"""The training step, declared to KFP."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def train(
    dataset: Input[Dataset],
    recipe: str,
    model: Output[Model],
    report: Output[HTML],
    metrics: Output[Metrics],
    state: str = "",
    base: Input[Model] = None,
    hard_negatives: Input[Dataset] = None,
) -> None:
    """Train a model on a sample index, or go on with an interrupted training."""
    import shutil
    from pathlib import Path

    from components.train.recipe import TrainRecipe
    from components.train.step import train as run
    from core.settings import parse

    parsed = parse(TrainRecipe, recipe, "recipe")
    summary = run(
        Path(dataset.path),
        Path(model.path),
        parsed,
        base=Path(base.path) if base else None,
        hard_negatives=Path(hard_negatives.path) if hard_negatives else None,
        state=state or None,
    )
    shutil.copyfile(summary.report, report.path)
    model.metadata.update(member=parsed.member, generation=parsed.generation, sha256=summary.sha256)
    for name, value in summary.metrics.items():
        metrics.log_metric(name, value)
