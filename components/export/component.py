"""The export step, declared to KFP."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from components.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)  # type: ignore[untyped-decorator]
def export(
    dataset: Input[Dataset],
    models: Input[list[Model]],
    recipe: str,
    bundle: Output[Model],
    card: Output[Markdown],
    metrics: Output[Metrics],
    evaluation: Input[Artifact] = None,
) -> None:
    """Write models as one bundle: TorchScript and ONNX, calibrated on val, behind the parity gate.

    Args:
        dataset: sample index.
        models: what the train step wrote, one a member.
        recipe: ExportRecipe as JSON.
        bundle: the bundle's folder.
        card: its model card.
        metrics: the ensemble's figures on val.
        evaluation: figures for the card.
    """
    from pathlib import Path

    from components.export.export import export as export_bundle
    from components.export.recipe import ExportRecipe
    from media.settings import parse

    given = Path(evaluation.path) if evaluation else None
    paths = [Path(model.path) for model in models]
    settings = parse(ExportRecipe, recipe, "export recipe")
    summary = export_bundle(Path(dataset.path), paths, Path(bundle.path), settings, evaluation=given)
    Path(card.path).write_bytes((summary.folder / "card.md").read_bytes())
    for name, value in summary.bundle.metrics.items():
        if value is not None:
            metrics.log_metric(name, value)
    bundle.metadata.update({"name": summary.bundle.name, "version": summary.bundle.version, "sha256": summary.sha256})
