"""The export step, declared to KFP."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def export(
    dataset: Input[Dataset],
    models: Input[list[Model]],
    recipe: str,
    bundle: Output[Model],
    card: Output[Markdown],
    metrics: Output[Metrics],
) -> None:
    """Write models as one bundle, calibrated on val, if what is exported gives what was trained.

    Args:
        dataset: The sample index; its val split is fitted and compared on.
        models: The members of the bundle.
        recipe: The export's settings of the models' task as JSON.

    Returns:
        bundle: `bundle.json` and the networks as TorchScript and ONNX.
        card: The model card.
        metrics: The ensemble's figures on val.
    """
    from components.export.exchange import export_artifact as run

    paths = [model.path for model in models]
    found, figures = run(dataset.path, paths, bundle.path, recipe, card.path)
    bundle.metadata.update(found)
    metrics.metadata.update(figures)
