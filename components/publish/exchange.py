"""The publication as a step of a pipeline."""

from pathlib import Path
from typing import Any

from components.publish.publish import publish
from components.publish.recipe import PublishRecipe
from core.settings import parse

NOTED = {"decision", "version", "bundle_sha256"}


def publish_artifact(bundle: str, evaluation: str, store: str, decision: str, recipe: str) -> dict[str, Any]:
    """Publish a bundle and return what is noted on the artifact.

    Args:
        bundle: folder of the bundle.
        evaluation: folder of the evaluation of this bundle.
        store: URI under which ``releases/`` lies.
        decision: folder to write.
        recipe: ``PublishRecipe`` as JSON.

    Raises:
        VeriframeError: as ``publish``.
    """
    settings = parse(PublishRecipe, recipe, "recipe")
    decided = publish(Path(bundle), Path(evaluation), store, Path(decision), settings)
    return decided.model_dump(mode="json", include=NOTED)
