"""The publish step, declared to KFP."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components.images import EXTRACTOR


@dsl.component(base_image=EXTRACTOR, install_kfp_package=False)  # type: ignore[untyped-decorator]
def publish(
    bundle: Input[Model],
    evaluation: Input[Artifact],
    store: str,
    recipe: str,
    decision: Output[Artifact],
) -> None:
    """Upload a bundle and make it the current release, if the gate lets it.

    Args:
        bundle: what the export step wrote.
        evaluation: what the evaluation of its members wrote.
        store: URI under which ``releases/`` lies.
        recipe: PublishRecipe as JSON.
        decision: a folder with ``decision.json``; its metadata say what was decided.
    """
    from pathlib import Path

    from components.publish.publish import publish as publish_bundle
    from components.publish.recipe import PublishRecipe
    from media.settings import parse

    settings = parse(PublishRecipe, recipe, "publish recipe")
    decided = publish_bundle(Path(bundle.path), Path(evaluation.path), store, Path(decision.path), settings)
    decision.metadata.update(decided.model_dump(mode="json", include={"decision", "version", "bundle_sha256"}))
