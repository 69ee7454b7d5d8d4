"""The evaluation step, declared to KFP."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def evaluate(
    dataset: Input[Dataset],
    recipe: str,
    models: Input[list[Model]],
    bundle: Input[Model],
    store: str,
    evaluation: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
    others: str = "",
) -> None:
    """Evaluate a bundle, beside it the models of earlier stages and the current release, on test splits.

    Args:
        dataset: The sample index that decides: earlier stages are fitted on its val, releases gated by its test split.
        recipe: The settings of the models' task as JSON.
        models: The models of the last stage; those of earlier stages are found by their lineage.
        bundle: What the export made of the models.
        store: Folder or `s3://` prefix under which `releases/` lies.
        others: Addresses of further sample indexes, separated by commas, as the extraction puts them out.

    Returns:
        evaluation: `metrics.json`, a table, `figures.md`, `rejected.jsonl` and `report.html`.
        report: The report as a page.
        metrics: The main figures of each ensemble, `<group>_<figure>`.
    """
    from components.evaluate.exchange import evaluate_artifact as run

    given = (dataset.path, others, [model.path for model in models], bundle.path, store)
    metrics.metadata.update(run(*given, evaluation.path, recipe, report.path))
