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
    store: str = "",
    part: int = -1,
) -> None:
    """Find the authentic train samples that a model takes for manipulated, or do one of several parts of that.

    Args:
        dataset: The sample index; its val split chooses the operating point, its train split is searched.
        model: The model to search with, such as that of the stage before.
        recipe: The sweep's settings of the model's task as JSON.
        store: URI under which finished parts are kept, for a retry and for the whole; empty keeps them not.
        part: Which part, from 0; -1 does what is missing of all and makes the list.

    Returns:
        hard_negatives: A sample index of what was found, the hardest first, with its report; of a part, empty.
        report: What was found, as a page.
        metrics: Counts, and the operating point.
    """
    from components.sweep_hard_negatives.exchange import sweep_artifact as run

    found, figures = run(dataset.path, model.path, hard_negatives.path, recipe, report.path, store, part)
    hard_negatives.metadata.update(found)
    metrics.metadata.update(figures)
