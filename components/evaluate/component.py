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
    others: str = "",
) -> None:
    """Evaluate the models of all stages side by side on the test splits of data sets.

    Args:
        dataset: The sample index that decides: on its val split operating points, temperatures and weights are
            chosen, and on its test split releases are gated.
        recipe: The settings of the models' task as JSON.
        models: The models of the last stage; those of earlier stages are found by their lineage.
        others: Addresses of further sample indexes, separated by commas, as the extraction puts them out.

    Returns:
        evaluation: `metrics.json`, a table, `rejected.jsonl` and `report.html`.
        report: The report as a page.
        metrics: The main figures of each stage's ensemble, `<stage>_<figure>`.
    """
    from components.evaluate.exchange import evaluate_artifact as run

    paths = [model.path for model in models]
    metrics.metadata.update(run(dataset.path, others, paths, evaluation.path, recipe, report.path))
