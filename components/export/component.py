"""The export step, declared to KFP."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def export(
    dataset: Input[Dataset],
    models: Input[list[Model]],
    recipe: str,
    bundle: Output[Model],
    card: Output[Markdown],
    metrics: Output[Metrics],
    evaluation: Input[Artifact] = None,
) -> None:
    """Write models as one bundle, calibrated on val, if what is exported gives what was trained.

    Args:
        dataset: The sample index; its val split is fitted and compared on.
        models: The members of the bundle.
        recipe: The export's settings of the models' task as JSON.
        evaluation: What the evaluation of the same models wrote.

    Returns:
        bundle: `bundle.json` and the networks as TorchScript and ONNX.
        card: The model card.
        metrics: The figures of the evaluation that the card shows.
    """
    from components.export.exchange import export_artifact as run

    paths, shown = [model.path for model in models], evaluation and evaluation.path
    found, figures = run(dataset.path, paths, bundle.path, recipe, card.path, evaluation=shown)
    bundle.metadata.update(found)
    metrics.metadata.update(figures)
