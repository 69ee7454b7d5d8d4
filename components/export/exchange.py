"""The export as a step of a pipeline."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bundle.document import CARD_FILE
from components.export.export import export
from core.settings import parse_mapping


def export_artifact(
    dataset: str, models: Sequence[str], bundle: str, recipe: str, card: str
) -> tuple[dict[str, str], dict[str, float]]:
    """Export models and return what is noted on the artifact, and the ensemble's figures on val.

    Args:
        dataset: folder of the sample index.
        models: folders of the models.
        bundle: folder to write.
        recipe: settings of the models' task as JSON.
        card: file to write the model card to.

    Raises:
        VeriframeError: as ``export``.
    """
    folders = [Path(model) for model in models]
    summary = export(Path(dataset), folders, Path(bundle), parse_mapping(recipe, "recipe"))
    shutil.copyfile(summary.folder / CARD_FILE, card)
    document = summary.bundle
    noted = {"name": document.name, "version": document.version, "sha256": summary.sha256}
    return noted, {name: value for name, value in document.metrics.items() if value is not None}
