"""Pipeline recipes: one YAML file that says everything about a run, resolved into one recipe a step."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from components.evaluate.recipe import EvaluateRecipe
from components.export.recipe import ExportRecipe
from components.extract_frames.recipe import ExtractRecipe
from components.publish.recipe import PublishRecipe
from components.sweep_hard_negatives.recipe import SweepRecipe
from components.train.recipe import TrainRecipe
from media.errors import unknown_name
from media.settings import Settings, load, merge, validate
from pipelines.resources import ClusterSettings, TaskResources

RECIPES = Path(__file__).parent / "recipes"
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class Variant(Settings):
    """What makes one member differ: keys laid over the pipeline's ``train`` section, and over single generations."""

    description: str
    train: dict[str, JsonValue] = {}
    generations: dict[str, dict[str, JsonValue]] = {}


class ResourceSettings(Settings):
    """Resources by step; ``train.accelerators`` is overruled by the training recipe's ``processes``."""

    extract: TaskResources = TaskResources()
    train: TaskResources = TaskResources(cpu="8", memory="32Gi", accelerators=1)
    sweep: TaskResources = TaskResources(accelerators=1)
    evaluate: TaskResources = TaskResources(accelerators=1)
    export: TaskResources = TaskResources(accelerators=1)
    publish: TaskResources = TaskResources(cpu="1", memory="2Gi", timeout_seconds=3600)


class PipelineRecipe(Settings):
    """A whole run of one family: extraction, members and their generations, judging, export and publication.

    ``train`` and each entry of ``generations`` are overlays of the training recipe. They are laid over one another in
    the order ``train``, variant, generation, variant's generation, and only the result is validated, so that a key is
    stated once.
    """

    description: str
    extract: ExtractRecipe
    members: list[str] = Field(min_length=1)
    train: dict[str, JsonValue]
    generations: dict[str, dict[str, JsonValue]]
    sweep: SweepRecipe = SweepRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    export: ExportRecipe
    publish: PublishRecipe
    resources: ResourceSettings = ResourceSettings()
    cluster: ClusterSettings = ClusterSettings()
    parallel_members: int = Field(default=1, ge=1)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the project, such as ``forgery/published``."""
    found = (path.relative_to(RECIPES).with_suffix("") for path in RECIPES.glob("*/*.yaml"))
    return sorted(path.as_posix() for path in found)


def load_recipe(name_or_path: str) -> PipelineRecipe:
    """Load a shipped recipe by name, or any recipe by the path of its YAML file.

    Raises:
        SettingsError: for an unknown name, with a suggestion, or for keys that do not validate.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        if name_or_path not in recipe_names():
            raise unknown_name("recipe", name_or_path, recipe_names())
        path = RECIPES / f"{name_or_path}.yaml"
    return load(PipelineRecipe, path)


def load_variant(family: str, name: str) -> Variant:
    """Load the variant ``name`` of a family.

    Raises:
        SettingsError: for an unknown name, with a suggestion.
    """
    folder = RECIPES / family / "variants"
    known = [path.stem for path in folder.glob("*.yaml")]
    if name not in known:
        raise unknown_name(f"{family} member", name, known)
    return load(Variant, folder / f"{name}.yaml")


def resolve_training(recipe: PipelineRecipe, family: str, member: str, generation: str) -> TrainRecipe:
    """Return the training recipe of one member in one generation.

    Raises:
        SettingsError: for an unknown member or generation, or keys that do not validate.
    """
    if generation not in recipe.generations:
        raise unknown_name("generation", generation, recipe.generations)
    variant = load_variant(family, member)
    merged: dict[str, Any] = merge(
        {"member": member, "generation": generation, "family": family},
        recipe.train,
        variant.train,
        recipe.generations[generation],
        variant.generations.get(generation, {}),
    )
    return validate(TrainRecipe, merged, f"training recipe of {member} {generation}")


def resolve_members(recipe: PipelineRecipe, family: str, chosen: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return what the pipeline loops over: per member its name and the JSON of its recipe in each generation.

    Args:
        recipe: the pipeline's recipe.
        family: the model family.
        chosen: a subset of the recipe's members; empty for all.

    Raises:
        SettingsError: when a chosen member is not among the recipe's.
    """
    for name in chosen:
        if name not in recipe.members:
            raise unknown_name("member of this recipe", name, recipe.members)
    return [
        {"name": name}
        | {gen: resolve_training(recipe, family, name, gen).to_json() for gen in sorted(recipe.generations)}
        for name in (chosen or recipe.members)
    ]
