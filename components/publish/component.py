"""The publish step as KFP sees it."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components.images import EXTRACTOR


@dsl.component(base_image=EXTRACTOR, install_kfp_package=False)
def publish(
    bundle: Input[Model],
    evaluation: Input[Artifact],
    store: str,
    recipe: str,
    decision: Output[Artifact],
) -> None:
    """Upload a bundle under ``<store>/releases`` and make it the current release, if the gate lets it."""
    from pathlib import Path

    from components.publish.publish import publish as run
    from components.publish.recipe import PublishRecipe
    from core.settings import parse

    settings = parse(PublishRecipe, recipe, "recipe")
    decided = run(Path(bundle.path), Path(evaluation.path), store, Path(decision.path), settings)
    decision.metadata.update(decided.model_dump(mode="json", include={"decision", "version", "bundle_sha256"}))
