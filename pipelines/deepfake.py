"""The deepfake graph: videos in, classifiers of faces trained stage after stage, a judged and published bundle out."""

from collections.abc import Callable, Sequence
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import images
from components.evaluate.component import evaluate
from components.export.component import export
from components.extract_frames.component import extract_frames
from components.publish.component import publish
from components.train.component import train
from pipelines.recipe import DeepfakeRecipe, resolve_extraction, resolve_stage, resolve_stages
from pipelines.resources import Place, for_training, placer

RECIPE = DeepfakeRecipe


def arguments(recipe: DeepfakeRecipe, members: Sequence[str] = ()) -> dict[str, Any]:
    """Return the pipeline parameters that follow from a recipe: one JSON string a step, and the members' list."""
    group = {"evaluation_group": recipe.last_stage}
    return {
        "members": resolve_stages(recipe, members),
        "evaluate_recipe": recipe.evaluate.to_json(),
        "export_recipe": recipe.export.model_copy(update=group).to_json(),
        "publish_recipe": recipe.publish.model_copy(update=group).to_json(),
    }


def _numbered(name: str, given: Sequence[Any]) -> dict[str, Any]:
    """Return arguments ``name``, ``name_2``, ``name_3``: KFP makes no list of what several tasks put out."""
    return {name if number == 1 else f"{name}_{number}": one for number, one in enumerate(given, start=1)}


def _below(source: str, folder: str) -> str:
    return f"{source}/{folder}" if folder else source


def _shares(recipe: DeepfakeRecipe, dataset: str, place: Place) -> BaseComponent:
    """Return the part of the graph that extracts a data set's shares side by side.

    It is a pipeline of its own, because a task can wait for one of those, and not for the end of a loop.
    """
    parts = recipe.datasets[dataset].parts
    settings, below = resolve_extraction(recipe, dataset).to_json(), recipe.datasets[dataset].source

    @dsl.pipeline(name=f"extract-shares-{dataset}")
    def shares(source: str, store: str) -> None:
        """Let every share put what it finished into the store of chunks."""
        with dsl.ParallelFor(list(range(parts)), name="shares") as part:
            place(
                extract_frames(
                    source=_below(source, below),
                    shards=f"{store}/shards",
                    recipe=settings,
                    chunks=f"{store}/chunks/{dataset}",
                    part=part,
                    parts=parts,
                ),
                recipe.resources.extract,
                images.EXTRACTOR,
            ).set_caching_options(False)

    return shares


def build(recipe: DeepfakeRecipe, image: Callable[[str], str]) -> BaseComponent:
    """Declare the pipeline.

    Args:
        recipe: gives the parameters' defaults and, fixed at compile time, data sets, stages and resources.
        image: turns a symbolic image name into a full reference.

    Returns:
        The pipeline, callable for a local run and compilable for a cluster.
    """
    defaults = arguments(recipe)
    training = for_training(
        recipe.resources.train,
        (resolve_stage(recipe, member, stage) for member in recipe.members for stage in recipe.stages),
    )

    place = placer(image, recipe.cluster)

    used = dict.fromkeys([*(stage.dataset for stage in recipe.stages.values()), *recipe.judged_datasets])
    shares = {name: _shares(recipe, name, place) for name in used if recipe.datasets[name].parts > 1}

    def extract(dataset: str, source: str, store: str) -> Any:
        """Extract a data set and return its index; the source is a mutable prefix, so nothing is cached."""
        root = _below(source, recipe.datasets[dataset].source)
        wanted = {"source": root, "shards": f"{store}/shards", "recipe": resolve_extraction(recipe, dataset).to_json()}
        if dataset in shares:
            # Both as they are: local runs resolve what is put together from parameters in tasks alone.
            done = shares[dataset](source=source, store=store)
            task = extract_frames(**wanted, chunks=f"{store}/chunks/{dataset}").after(done)
        else:
            task = extract_frames(**wanted)
        place(task, recipe.resources.extract, images.EXTRACTOR).set_caching_options(False)
        return task.set_display_name(f"extract-{dataset}").outputs["dataset"]

    @dsl.pipeline(name="deepfake", description=recipe.description)
    def deepfake(
        source: str,
        store: str,
        members: list = defaults["members"],  # type: ignore[type-arg]  # KFP knows only the bare type
        evaluate_recipe: str = defaults["evaluate_recipe"],
        export_recipe: str = defaults["export_recipe"],
        publish_recipe: str = defaults["publish_recipe"],
    ) -> None:
        """Extract the data sets, train the members stage after stage, judge all stages, export and publish the last."""
        datasets = {name: extract(name, source, store) for name in used}
        stages: list[Any] = []
        with dsl.ParallelFor(members, parallelism=recipe.parallel_members, name="members") as member:
            for name, stage in recipe.stages.items():
                before = {"base": stages[-1]} if stages else {}
                task = train(
                    dataset=datasets[stage.dataset],
                    recipe=getattr(member, name),
                    state=f"{store}/state/{{run}}",
                    **before,
                )
                stages.append(place(task, training).set_display_name(f"train-{name}").outputs["model"])
        judged = place(
            evaluate(
                recipe=evaluate_recipe,
                **_numbered("models", [dsl.Collected(models) for models in stages]),
                **_numbered("dataset", [datasets[name] for name in recipe.judged_datasets]),
            ),
            recipe.resources.evaluate,
        )
        bundle = place(
            export(
                dataset=datasets[recipe.fit_dataset],
                models=dsl.Collected(stages[-1]),
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
        # It moves a pointer in the store.
        place(released, recipe.resources.publish, images.EXTRACTOR).set_caching_options(False)

    return deepfake
