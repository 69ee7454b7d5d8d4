"""Pipeline recipes: one YAML file that says everything about a run, resolved into one recipe a step."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, JsonValue, model_validator

from components.evaluate.recipe import EvaluateRecipe
from components.export.recipe import ExportRecipe
from components.extract_frames.recipe import ExtractRecipe
from components.publish.recipe import PublishRecipe
from components.sweep_hard_negatives.recipe import SweepRecipe
from components.train.recipe import TrainRecipe
from core.errors import unknown_name
from core.settings import Settings, load, merge, validate
from pipelines.resources import ClusterSettings, TaskResources

RECIPES = Path(__file__).parent / "recipes"
SLOTS = 4  # stages, and data sets, that the evaluation step takes
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class Variant(Settings):
    """What makes one member differ: keys laid over the pipeline's ``train`` section, and over single generations.

    In a pipeline of stages ``generations`` are stages.
    """

    description: str
    train: dict[str, JsonValue] = {}
    generations: dict[str, dict[str, JsonValue]] = {}


class StepResources(Settings):
    """Resources by step; ``train.accelerators`` is overruled by the training recipe's ``processes``."""

    extract: TaskResources = TaskResources()
    train: TaskResources = TaskResources(cpu="8", memory="32Gi", accelerators=1)
    evaluate: TaskResources = TaskResources(accelerators=1)
    export: TaskResources = TaskResources(accelerators=1)
    publish: TaskResources = TaskResources(cpu="1", memory="2Gi", timeout_seconds=3600)


class ResourceSettings(StepResources):
    """Resources by step of the forgery graph."""

    sweep: TaskResources = TaskResources(accelerators=1)


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


class DatasetSettings(Settings):
    """One data set of a pipeline.

    Attributes:
        source: where its layout begins, relative to the pipeline's source; empty for the source itself.
        extract: keys of the extraction recipe, laid over those that all data sets share. ``dataset`` is the key under
            which this entry stands.
        parts: machines that share the work before the call that joins what they did; 1 does it all in one.
    """

    source: str = ""
    extract: dict[str, JsonValue] = {}
    parts: int = Field(default=1, ge=1, le=1000)


class Stage(Settings):
    """One stage: the data set it trains on, and keys laid over the training recipe of every member."""

    dataset: str
    train: dict[str, JsonValue] = {}


class DeepfakeRecipe(Settings):
    """A whole run of classifiers of faces: data sets, members, stages one after another, judging, export, publication.

    A member's training recipe in a stage is made of overlays: ``train``, its variant, its own keys under ``members``,
    the stage's, and the variant's for that stage. A stage starts from the same member's model of the stage before.

    Attributes:
        description: one line for a person.
        extract: keys of the extraction recipe that all data sets share.
        datasets: by the name that they get in every ``media_id``.
        members: by the name of their variant, with keys of their own.
        train: keys of the training recipe that all share.
        stages: by name, in order.
        fit: the data set on whose val split temperatures, weights and thresholds are chosen, and on whose test split
            releases are judged; that of the last stage when None.
        judged: data sets on whose test splits all stages are judged; all when None.
        evaluate: recipe of the evaluation.
        export: recipe of the export; its evaluation group is the last stage.
        publish: recipe of the publication; its evaluation group is the last stage.
        resources: by step.
        cluster: what the cluster calls things.
        parallel_members: members trained at one time.
    """

    description: str
    extract: dict[str, JsonValue] = {}
    datasets: dict[str, DatasetSettings] = Field(min_length=1)
    members: dict[str, dict[str, JsonValue]] = Field(min_length=1)
    train: dict[str, JsonValue] = {}
    stages: dict[str, Stage] = Field(min_length=1, max_length=SLOTS)
    fit: str | None = None
    judged: tuple[str, ...] | None = None
    evaluate: EvaluateRecipe = EvaluateRecipe()
    export: ExportRecipe
    publish: PublishRecipe = PublishRecipe()
    resources: StepResources = StepResources()
    cluster: ClusterSettings = ClusterSettings()
    parallel_members: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = {f"stages.{name}.dataset": stage.dataset for name, stage in self.stages.items()}
        named |= {f"judged.{number}": name for number, name in enumerate(self.judged or ())}
        named |= {} if self.fit is None else {"fit": self.fit}
        for key, name in named.items():
            if name not in self.datasets:
                raise ValueError(f"{key} = {name!r}: {unknown_name('data set', name, self.datasets)}")
        if len(self.judged_datasets) > SLOTS:
            raise ValueError(f"at most {SLOTS} data sets are judged side by side; name them under `judged`")
        return self

    @property
    def last_stage(self) -> str:
        """The stage whose models are exported."""
        return list(self.stages)[-1]

    @property
    def fit_dataset(self) -> str:
        """The data set that decides."""
        return self.fit or self.stages[self.last_stage].dataset

    @property
    def judged_datasets(self) -> list[str]:
        """The data sets that are judged, the one that decides first."""
        others = self.datasets if self.judged is None else self.judged
        return list(dict.fromkeys([self.fit_dataset, *others]))


AnyRecipe = PipelineRecipe | DeepfakeRecipe
R = TypeVar("R", PipelineRecipe, DeepfakeRecipe)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the project, such as ``forgery/published``."""
    found = (path.relative_to(RECIPES).with_suffix("") for path in RECIPES.glob("*/*.yaml"))
    return sorted(path.as_posix() for path in found)


def load_recipe(name_or_path: str, model: type[R]) -> R:
    """Load a shipped recipe by name, or any recipe by the path of its YAML file.

    Args:
        name_or_path: such as ``forgery/published``, or a file.
        model: what the recipes of the pipeline are.

    Raises:
        SettingsError: for an unknown name, with a suggestion, or for keys that do not validate.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        if name_or_path not in recipe_names():
            raise unknown_name("recipe", name_or_path, recipe_names())
        path = RECIPES / f"{name_or_path}.yaml"
    return load(model, path)


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
    return [
        {"name": name}
        | {gen: resolve_training(recipe, family, name, gen).to_json() for gen in sorted(recipe.generations)}
        for name in _chosen(recipe.members, chosen)
    ]


def _chosen(members: Iterable[str], chosen: Sequence[str]) -> list[str]:
    for name in chosen:
        if name not in members:
            raise unknown_name("member of this recipe", name, members)
    return list(chosen or members)


def resolve_extraction(recipe: DeepfakeRecipe, dataset: str) -> ExtractRecipe:
    """Return the extraction recipe of one data set.

    Raises:
        SettingsError: for keys that do not validate.
    """
    merged = merge(recipe.extract, recipe.datasets[dataset].extract, {"dataset": dataset})
    return validate(ExtractRecipe, merged, f"extraction recipe of {dataset}")


def resolve_stage(recipe: DeepfakeRecipe, member: str, stage: str) -> TrainRecipe:
    """Return the training recipe of one member in one stage; its base is the stage before.

    Raises:
        SettingsError: for an unknown variant, or keys that do not validate.
    """
    names = list(recipe.stages)
    variant = load_variant("deepfake", member)
    merged: dict[str, Any] = merge(
        {"member": member, "generation": stage, "base_generation": names[max(0, names.index(stage) - 1)]},
        recipe.train,
        variant.train,
        recipe.members[member],
        recipe.stages[stage].train,
        variant.generations.get(stage, {}),
    )
    return validate(TrainRecipe, merged, f"training recipe of {member} in stage {stage}")


def resolve_stages(recipe: DeepfakeRecipe, chosen: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return what the pipeline loops over: per member its name and the JSON of its recipe in each stage.

    Args:
        recipe: the pipeline's recipe.
        chosen: a subset of the recipe's members; empty for all.

    Raises:
        SettingsError: when a chosen member is not among the recipe's.
    """
    return [
        {"name": name} | {stage: resolve_stage(recipe, name, stage).to_json() for stage in recipe.stages}
        for name in _chosen(recipe.members, chosen)
    ]
