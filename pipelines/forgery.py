"""The forgery graph: pictures in, two generations of segmentation models, a judged and published bundle out."""

from collections.abc import Callable, Sequence
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import images
from components.evaluate.component import evaluate
from components.export.component import export
from components.extract_frames.component import extract_frames
from components.publish.component import publish
from components.sweep_hard_negatives.component import sweep_hard_negatives
from components.train.component import train
from pipelines.recipe import PipelineRecipe, resolve_members, resolve_training
from pipelines.resources import for_training, placer

FAMILY = "forgery"
RECIPE = PipelineRecipe


def arguments(recipe: PipelineRecipe, members: Sequence[str] = ()) -> dict[str, Any]:
    """Return the pipeline parameters that follow from a recipe: one JSON string a step, and the members' list."""
    return {
        "extract_recipe": recipe.extract.to_json(),
        "members": resolve_members(recipe, FAMILY, members),
        "sweep_recipe": recipe.sweep.to_json(),
        "evaluate_recipe": recipe.evaluate.to_json(),
        "export_recipe": recipe.export.to_json(),
        "publish_recipe": recipe.publish.to_json(),
    }


def build(recipe: PipelineRecipe, image: Callable[[str], str]) -> BaseComponent:
    """Declare the pipeline.

    Args:
        recipe: gives the parameters' defaults and, fixed at compile time, the resources.
        image: turns a symbolic image name into a full reference.

    Returns:
        The pipeline, callable for a local run and compilable for a cluster.
    """
    defaults = arguments(recipe)
    training = for_training(
        recipe.resources.train,
        (
            resolve_training(recipe, FAMILY, member, generation)
            for member in recipe.members
            for generation in recipe.generations
        ),
    )

    place = placer(image, recipe.cluster)

    @dsl.pipeline(name="forgery", description=recipe.description)
    def forgery(
        source: str,
        store: str,
        extract_recipe: str = defaults["extract_recipe"],
        members: list = defaults["members"],  # type: ignore[type-arg]  # KFP knows only the bare type
        sweep_recipe: str = defaults["sweep_recipe"],
        evaluate_recipe: str = defaults["evaluate_recipe"],
        export_recipe: str = defaults["export_recipe"],
        publish_recipe: str = defaults["publish_recipe"],
    ) -> None:
        """Extract, train two generations with hard-negative mining between them, judge, export and publish."""
        index = extract_frames(source=source, shards=f"{store}/shards", recipe=extract_recipe)
        place(index, recipe.resources.extract, images.EXTRACTOR).set_caching_options(
            False
        )  # the source is a mutable prefix
        dataset = index.outputs["dataset"]
        with dsl.ParallelFor(members, parallelism=recipe.parallel_members, name="members") as member:
            v3 = place(train(dataset=dataset, recipe=member.v3, state=f"{store}/state/{{run}}"), training)
            v3.set_display_name("train-v3")
            sweep = place(
                sweep_hard_negatives(dataset=dataset, model=v3.outputs["model"], recipe=sweep_recipe),
                recipe.resources.sweep,
            )
            v4 = place(
                train(
                    dataset=dataset,
                    recipe=member.v4,
                    state=f"{store}/state/{{run}}",
                    base=v3.outputs["model"],
                    hard_negatives=sweep.outputs["hard_negatives"],
                ),
                training,
            )
            v4.set_display_name("train-v4")
        judged = place(
            evaluate(
                dataset=dataset,
                models=dsl.Collected(v3.outputs["model"]),
                models_2=dsl.Collected(v4.outputs["model"]),
                recipe=evaluate_recipe,
            ),
            recipe.resources.evaluate,
        )
        bundle = place(
            export(
                dataset=dataset,
                models=dsl.Collected(v4.outputs["model"]),
                evaluation=judged.outputs["evaluation"],
                recipe=export_recipe,
            ),
            recipe.resources.export,
        )
        released = publish(
            bundle=bundle.outputs["bundle"],
            evaluation=judged.outputs["evaluation"],
            store=store,
            recipe=publish_recipe,
        )
        place(released, recipe.resources.publish, images.EXTRACTOR).set_caching_options(
            False
        )  # it moves a pointer in the store

    return forgery
