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
    models: str = "",
    base: Input[Model] = None,
    hard_negatives: Input[Dataset] = None,
) -> None:
    """Train a model on a sample index, or go on with an interrupted training.

    Args:
        dataset: The sample index; its train and val splits are read.
        recipe: `TrainRecipe` as JSON.
        state: Folder or `s3://` prefix of the step checkpoints; `{run}` in it stands for recipe and inputs.
        models: URI under which the model is kept for the evaluation of all stages; empty keeps it not.
        base: The model to start from, such as that of the stage before.
        hard_negatives: Authentic samples to draw more often, as the sweep finds them.

    Returns:
        model: The checkpoint of the best epoch, `model.json`, `lineage.json` and `log.jsonl`.
        report: How the training went, as a page.
        metrics: Of the best epoch on val.
    """
    from components.train.exchange import train_artifact as run

    found, figures = run(dataset.path, model.path, recipe, report.path, state, models, base, hard_negatives)
    model.metadata.update(found)
    metrics.metadata.update(figures)
