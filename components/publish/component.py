"""The publication step, declared to KFP."""

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
    """Upload a bundle and make it the current release, if the gate lets it.

    Args:
        bundle: What the export wrote.
        evaluation: What the evaluation of this bundle wrote.
        store: Folder or `s3://` prefix under which `releases/` lies.
        recipe: `PublishRecipe` as JSON.

    Returns:
        decision: `decision.json`: what was decided, and by which figures.
    """
    from components.publish.exchange import publish_artifact as run

    decision.metadata.update(run(bundle.path, evaluation.path, store, decision.path, recipe))
