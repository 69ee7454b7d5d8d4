"""The export step as KFP sees it."""

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
    """Write models as one bundle: TorchScript and ONNX, calibrated on val, behind the parity gate."""
    import shutil
    from pathlib import Path

    from components.export.export import export as run
    from components.export.recipe import ExportRecipe
    from core.settings import parse

    summary = run(
        Path(dataset.path),
        [Path(model.path) for model in models],
        Path(bundle.path),
        parse(ExportRecipe, recipe, "recipe"),
        evaluation=Path(evaluation.path) if evaluation else None,
    )
    shutil.copyfile(summary.folder / "card.md", card.path)
    bundle.metadata.update(name=summary.bundle.name, version=summary.bundle.version, sha256=summary.sha256)
    for name, value in summary.bundle.metrics.items():
        if value is not None:
            metrics.log_metric(name, value)
