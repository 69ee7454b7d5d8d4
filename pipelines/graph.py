"""The graph of every pipeline: data sets in, members trained stage after stage, a published bundle out."""

from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path
from typing import Any

from kfp import compiler, dsl
from kfp.dsl.base_component import BaseComponent

from components import images as names
from components.evaluate.component import evaluate
from components.export.component import export
from components.extract_frames.component import extract_frames
from components.publish.component import publish
from components.sweep_hard_negatives.component import sweep_hard_negatives
from components.train.component import train
from core.artifacts import SEPARATOR
from core.files import write_text
from pipelines import references
from pipelines.resolution import ResolvedPipeline
from pipelines.resources import Place, for_training, placer

# Of the recipes in what the loop runs over; KFP's own attributes begin otherwise.
RECIPE_OF = "recipe_"


def arguments(pipeline: ResolvedPipeline) -> dict[str, Any]:
    """Return the pipeline parameters that follow from the recipe: one JSON string a step, and the members' list."""
    return {
        "members": [
            {"name": member} | {f"{RECIPE_OF}{stage}": recipe.to_json() for stage, recipe in stages.items()}
            for member, stages in pipeline.training.items()
        ],
        "evaluate_recipe": pipeline.evaluate.to_json(),
        "export_recipe": pipeline.export.to_json(),
        "publish_recipe": pipeline.publish.to_json(),
    }


def build(pipeline: ResolvedPipeline, image: Callable[[str], str]) -> BaseComponent:
    """Declare the graph of a pipeline.

    Args:
        pipeline: gives the parameters' defaults and, fixed at compile time, data sets, stages and resources.
        image: turns a symbolic image name into a full reference.

    Returns:
        The pipeline, callable for a local run and compilable for a cluster.
    """
    recipe, defaults = pipeline.recipe, arguments(pipeline)
    place = placer(image, recipe.cluster)
    extractions = _Extractions(pipeline, place)
    shared = {name: _sweep_parts(pipeline, place, name) for name, one in pipeline.sweeps.items() if one.parts > 1}

    @dsl.pipeline(name=pipeline.name, description=recipe.description)
    def graph(
        source: str,
        store: str,
        members: list = defaults["members"],  # type: ignore[type-arg]  # KFP knows only the bare type
        evaluate_recipe: str = defaults["evaluate_recipe"],
        export_recipe: str = defaults["export_recipe"],
        publish_recipe: str = defaults["publish_recipe"],
    ) -> None:
        """Extract, train stage after stage, export the last, evaluate the bundle beside the other stages, publish it.

        Args:
            source: folder or `s3://` prefix that holds the data sets.
            store: folder or `s3://` prefix for shards, training state, models and releases.
            members: by member its name, and the JSON of its training recipe in each stage.
            evaluate_recipe: JSON of the evaluation's settings.
            export_recipe: JSON of the export's settings.
            publish_recipe: JSON of the publication's recipe.
        """
        datasets = {name: extractions.add(name, source, store) for name in recipe.used_datasets}
        decisive, *others = (datasets[name] for name in recipe.evaluated_datasets)
        with dsl.ParallelFor(members, parallelism=recipe.parallel_members, name="members") as member:
            model = _stages(pipeline, place, datasets, member, store, shared)
        bundle = place(
            export(dataset=decisive.outputs["dataset"], models=dsl.Collected(model), recipe=export_recipe),
            recipe.resources.export,
        ).outputs["bundle"]
        evaluated = evaluate(
            dataset=decisive.outputs["dataset"],
            others=SEPARATOR.join(str(one.outputs["index"]) for one in others),
            models=dsl.Collected(model),  # KFP changes what it is given, so that each task has one of its own
            bundle=bundle,
            store=store,
            recipe=evaluate_recipe,
        )
        # It judges what is released at present too, and that may have changed since an earlier result.
        place(evaluated, recipe.resources.evaluate).set_caching_options(False)
        evaluation = evaluated.outputs["evaluation"]
        released = publish(bundle=bundle, evaluation=evaluation, store=store, recipe=publish_recipe)
        # It moves a pointer in the store, so that no earlier result stands for it.
        place(released, recipe.resources.publish, names.EXTRACTOR).set_caching_options(False)

    return graph


def _stages(
    pipeline: ResolvedPipeline,
    place: Place,
    datasets: dict[str, Any],
    member: Any,
    store: Any,
    shared: dict[str, BaseComponent],
) -> Any:
    """Declare the stages of a member, with the ``shared`` searches before some; return its model of the last one."""
    recipe = pipeline.recipe
    training = for_training(
        recipe.resources.train, (one for stages in pipeline.training.values() for one in stages.values())
    )
    model = None
    for name, stage in recipe.stages.items():
        dataset = datasets[stage.dataset].outputs["dataset"]
        inputs = {} if model is None else {"base": model}
        if name in pipeline.sweeps:
            given = {"dataset": dataset, "model": model}
            sweep = sweep_hard_negatives(**given, recipe=pipeline.sweeps[name].to_json(), store=f"{store}/sweeps")
            if name in shared:
                sweep.after(shared[name](**given, store=store))
            place(sweep, recipe.resources.sweep).set_display_name(f"sweep-before-{name}")
            inputs["hard_negatives"] = sweep.outputs["hard_negatives"]
        task = train(
            dataset=dataset,
            recipe=getattr(member, f"{RECIPE_OF}{name}"),
            state=f"{store}/state/{{run}}",
            # The last one's goes to the evaluation as an artifact; those before are found by its lineage.
            models="" if name == recipe.last_stage else f"{store}/models",
            **inputs,
        )
        model = place(task, training).set_display_name(f"train-{name}").outputs["model"]
    return model


def _sweep_parts(pipeline: ResolvedPipeline, place: Place, stage: str) -> BaseComponent:
    """Return the part of the graph that searches for hard negatives in parts; a pipeline, for a task to wait for."""
    settings = pipeline.sweeps[stage]

    @dsl.pipeline(name=f"sweep-parts-{stage}")
    def parts(dataset: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], store: str) -> None:
        """Let every part leave what it found in the store."""
        with dsl.ParallelFor(list(range(settings.parts)), name="parts") as part:
            task = sweep_hard_negatives(
                dataset=dataset, model=model, recipe=settings.to_json(), store=f"{store}/sweeps", part=part
            )
            place(task, pipeline.recipe.resources.sweep)

    return parts


class _Extractions:
    """Declares the extraction of data sets, some in shares."""

    def __init__(self, pipeline: ResolvedPipeline, place: Place) -> None:
        self._pipeline = pipeline
        self._place = place
        used = pipeline.recipe.used_datasets
        self._shares = {name: self._share(name) for name, dataset in used.items() if dataset.parts > 1}

    def add(self, dataset: str, source: Any, store: Any) -> Any:
        """Declare the extraction of a data set and return its task; the source is mutable, so nothing is cached."""
        given = self._given(dataset, source, store)
        task = extract_frames(**given, indexes=f"{store}/indexes")
        if dataset in self._shares:
            # Both as they are: local runs resolve what is put together from parameters in tasks alone.
            task.after(self._shares[dataset](source=source, store=store))
        self._place(task, self._pipeline.recipe.resources.extract, names.EXTRACTOR).set_caching_options(False)
        return task.set_display_name(f"extract-{dataset}")

    def _given(self, dataset: str, source: Any, store: Any) -> dict[str, Any]:
        settings = self._pipeline.recipe.datasets[dataset]
        return {
            "source": f"{source}/{settings.source}" if settings.source else source,
            "shards": f"{store}/shards",
            "chunks": f"{store}/chunks/{dataset}",  # a retry's new pod goes on from there
            "parts": settings.parts,
            "recipe": self._pipeline.extraction[dataset].to_json(),
        }

    def _share(self, dataset: str) -> BaseComponent:
        """Return the part of the graph that extracts a data set's shares side by side.

        It is a pipeline of its own, because a task can wait for one of those, and not for the end of a loop.
        """
        parts = self._pipeline.recipe.datasets[dataset].parts

        @dsl.pipeline(name=f"extract-shares-{dataset}")
        def shares(source: str, store: str) -> None:
            """Let every share store its shards, and leave its rows with the chunks."""
            with dsl.ParallelFor(list(range(parts)), name="shares") as part:
                task = extract_frames(**self._given(dataset, source, store), part=part)
                self._place(task, self._pipeline.recipe.resources.extract, names.EXTRACTOR).set_caching_options(False)

        return shares


def pinned(pipeline: ResolvedPipeline, registry: str | None = None, tag: str | None = None) -> BaseComponent:
    """Declare the graph of a pipeline with its steps' images pinned.

    Args:
        pipeline: what to declare.
        registry: where the images are; None reads the environment.
        tag: the images' tag or digest; None takes the git commit.
    """
    tag = tag or references.build_tag()
    return build(pipeline, lambda image: references.reference(image, registry, tag))


def compile_pipeline(
    pipeline: ResolvedPipeline, output: Path, registry: str | None = None, tag: str | None = None
) -> Path:
    """Write a pipeline's YAML; the same source, recipe and images give the same bytes.

    Args:
        pipeline: what to compile.
        output: the YAML file to write.
        registry: where the images are; None reads the environment.
        tag: the images' tag or digest; None takes the git commit.
    """
    graph = pinned(pipeline, registry, tag)
    temporary = output.with_suffix(".partial.yaml")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(graph, str(temporary))
    text = temporary.read_text(encoding="utf-8")
    temporary.unlink()
    # KFP's header repeats the parameters as comments, in an order that differs from process to process.
    lines = text.splitlines(keepends=True)
    write_text(output, "".join(dropwhile(lambda line: line.startswith("#"), lines)))
    return output
