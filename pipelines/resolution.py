"""From a pipeline's recipe to that of every step: overlays laid over one another, validated before anything runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.extract_frames.recipe import ExtractRecipe
from components.publish.recipe import PublishRecipe
from components.train.recipe import TrainRecipe
from core.errors import SettingsError, unknown_name
from core.settings import merge, validate
from data.layout import LAYOUTS
from media.spec import require_suitable
from models.family import FAMILIES
from pipelines.finding import load_recipe, load_variant, recipe_path, variant_folders
from pipelines.recipe import PipelineRecipe, Variant
from tasks.settings import EvaluateSettings, ExportSettings, SweepSettings
from tasks.task import TASKS, Task


@dataclass(frozen=True)
class ResolvedPipeline:
    """A pipeline with the recipe of each of its steps.

    Attributes:
        name: of the pipeline.
        recipe: what everything follows from.
        extraction: by data set.
        training: by member, then by stage.
        sweeps: by the stage that a sweep is before.
        evaluate: settings of the members' task.
        export: settings of the members' task, for the last stage.
        publish: of the bundle.
    """

    name: str
    recipe: PipelineRecipe
    extraction: Mapping[str, ExtractRecipe]
    training: Mapping[str, Mapping[str, TrainRecipe]]
    sweeps: Mapping[str, SweepSettings]
    evaluate: EvaluateSettings
    export: ExportSettings
    publish: PublishRecipe

    def choose(self, members: Sequence[str]) -> "ResolvedPipeline":
        """Return the pipeline with some of its members; none stands for all.

        Raises:
            SettingsError: when one is not among the recipe's.
        """
        for name in members:
            if name not in self.training:
                raise unknown_name("member of this recipe", name, self.training)
        return replace(self, training={name: self.training[name] for name in members or self.training})


def load_pipeline(name: str, recipe: str | None = None, overrides: Sequence[str] = ()) -> ResolvedPipeline:
    """Load a pipeline's recipe and resolve it.

    Args:
        name: of the pipeline.
        recipe: a recipe's name or path; None takes the published one.
        overrides: ``<dotted key>=<value>`` each, laid over the recipe.

    Raises:
        SettingsError: for an unknown name, with a suggestion, or for keys that do not validate.
        MismatchError: when a data set does not show what a member's views are cut from.
    """
    path = recipe_path(name, recipe)
    return resolve(name, load_recipe(path, overrides), variant_folders(name, path))


def resolve(name: str, recipe: PipelineRecipe, folders: Sequence[Path]) -> ResolvedPipeline:
    """Return the recipes of all steps.

    Args:
        name: of the pipeline.
        recipe: the pipeline's.
        folders: where the members' variants are looked for, the first one first.

    Raises:
        SettingsError: naming the step and the key, its value and what is allowed.
        MismatchError: when a data set does not show what a member's views are cut from.
    """
    training = {
        member: {stage: _training(recipe, member, variant, stage) for stage in recipe.stages}
        for member, variant in _variants(recipe, folders).items()
    }
    recipes = [one for stages in training.values() for one in stages.values()]
    task = _task(recipes)
    validate(task.gate_settings, _section(recipe.publish, "gate"), "publish.gate")
    reach = max(view.reach() for one in recipes for view in one.input.views.values())
    extraction = {dataset: _extraction(recipe, dataset, reach) for dataset in recipe.datasets}
    _require_suitable(recipes, {name: extraction[name] for name in recipe.used_datasets})
    export = validate(task.export_settings, recipe.export, "export")
    return ResolvedPipeline(
        name=name,
        recipe=recipe,
        extraction=extraction,
        training=training,
        sweeps=_sweeps(recipe, task),
        evaluate=_evaluation(recipe, task, export),
        export=export,
        publish=validate(PublishRecipe, recipe.publish, "publish"),
    )


def _evaluation(recipe: PipelineRecipe, task: Task, export: ExportSettings) -> EvaluateSettings:
    """Return the settings of the evaluation, which fits earlier stages as the export does, unless told otherwise."""
    shared = task.evaluate_settings.model_fields.keys() & task.export_settings.model_fields.keys()
    fitted = export.model_dump(mode="json", include=shared - {"inference"})
    return validate(task.evaluate_settings, merge(fitted, recipe.evaluate), "evaluate")


def _variants(recipe: PipelineRecipe, folders: Sequence[Path]) -> dict[str, Variant]:
    variants = {member: load_variant(member, folders) for member in recipe.members}
    for member, variant in variants.items():
        for stage in variant.stages:
            if stage not in recipe.stages:
                raise SettingsError(f"variant {member}: stages: {unknown_name('stage', stage, recipe.stages)}")
    return variants


def _training(recipe: PipelineRecipe, member: str, variant: Variant, stage: str) -> TrainRecipe:
    before = recipe.earlier_stages[stage]
    merged = merge(
        {"member": member, "stage": stage, "base_stage": before},
        recipe.train,
        variant.train,
        recipe.members[member],
        recipe.stages[stage].train,
        variant.stages.get(stage, {}),
    )
    return validate(TrainRecipe, merged, f"training recipe of {member} in stage {stage}")


def _task(recipes: Iterable[TrainRecipe]) -> Task:
    """Return the one task of all members.

    Raises:
        SettingsError: when they are of several.
    """
    tasks = {recipe.member: FAMILIES.get(recipe.family).task for recipe in recipes}
    if len(set(tasks.values())) > 1:
        of_each = ", ".join(f"{member} ({task})" for member, task in tasks.items())
        raise SettingsError(
            f"members: all must be of one task, since they are evaluated as one ensemble; got {of_each}"
        )
    return TASKS.get(next(iter(tasks.values())))


def _section(keys: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = keys.get(name, {})
    if not isinstance(section, Mapping):
        raise SettingsError(f"publish.{name} = {section!r}: expected a mapping of keys to values")
    return section


def _extraction(recipe: PipelineRecipe, dataset: str, reach: float) -> ExtractRecipe:
    """Return the extraction recipe of a data set; ``reach`` is that of the widest view."""
    merged = merge(recipe.extract, recipe.datasets[dataset].extract, {"dataset": dataset})
    layout = merged.get("layout")
    if layout in LAYOUTS.names():  # else the recipe's own check names it
        merged = merge({"spec": {"extraction": LAYOUTS.get(layout).kind.defaults(reach)}}, merged)
    return validate(ExtractRecipe, merged, f"extraction recipe of {dataset}")


def _sweeps(recipe: PipelineRecipe, task: Task) -> dict[str, SweepSettings]:
    sweeps = {}
    for name, stage in recipe.stages.items():
        if stage.sweep is not None:
            if task.sweep_settings is None:
                raise SettingsError(f"stages.{name}.sweep: there is no sweep for the task {task.name}; leave it out")
            settings = merge(recipe.sweep, stage.sweep)
            sweeps[name] = validate(task.sweep_settings, settings, f"sweep before stage {name}")
    if recipe.sweep and task.sweep_settings is not None:
        validate(task.sweep_settings, recipe.sweep, "sweep")
    return sweeps


def _require_suitable(recipes: Iterable[TrainRecipe], extraction: Mapping[str, ExtractRecipe]) -> None:
    for recipe in recipes:
        for name, one in extraction.items():
            require_suitable(recipe.input, recipe.name, one.spec.extraction, f"data set {name}")
