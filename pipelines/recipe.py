"""The recipe of a pipeline: one YAML file that holds everything about a run; its keys, each with its description.

Some keys are overlays: they are laid over one another, and only the result is validated, so that a key is given once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, GetJsonSchemaHandler, JsonValue, model_validator
from pydantic.json_schema import JsonSchemaValue

from core.errors import unknown_name
from core.settings import Settings
from pipelines.resources import ClusterSettings, StepResources

OVERLAY = "x-overlay"  # a key of JSON Schema that pydantic leaves alone


@dataclass(frozen=True)
class Overlay:
    """Marks an overlay in JSON Schema, where ``pipelines.schema`` puts a reference to the description of its keys.

    Attributes:
        name: of the definition.
    """

    name: str

    def __get_pydantic_json_schema__(self, _: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del handler
        return {OVERLAY: self.name}


Keys = dict[str, JsonValue]
ExtractKeys = Annotated[Keys, Overlay("ExtractKeys")]
TrainKeys = Annotated[Keys, Overlay("TrainKeys")]
SweepKeys = Annotated[Keys, Overlay("SweepKeys")]
EvaluateKeys = Annotated[Keys, Overlay("EvaluateKeys")]
ExportKeys = Annotated[Keys, Overlay("ExportKeys")]
PublishKeys = Annotated[Keys, Overlay("PublishKeys")]
StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")]


class Variant(Settings):
    """What makes one member differ from the others of a pipeline."""

    description: str
    """One line for a person."""
    train: TrainKeys = {}
    """Keys of the training recipe, laid over the pipeline's ``train``."""
    stages: dict[StageName, TrainKeys] = {}
    """By stage, keys that are laid over everything else in that stage."""


class DatasetSettings(Settings):
    """One data set of a pipeline."""

    source: str = ""
    """Where its layout begins, relative to the pipeline's source; empty for the source itself."""
    extract: ExtractKeys = {}
    """Keys of the extraction recipe, laid over those that all data sets share. ``dataset`` is the key under which this
    entry stands."""
    parts: int = Field(default=1, ge=1, le=1000)
    """Machines that share the work, each with shards of its own, before the task that joins their rows; 1 does it all
    in one."""


class Stage(Settings):
    """One stage of every member's training; it starts from the same member's model of the stage before."""

    dataset: str
    """The data set that it trains on."""
    train: TrainKeys = {}
    """Keys of the training recipe, laid over every member's."""
    sweep: SweepKeys | None = None
    """A search of the data set for hard negatives with the model of the stage before, which this stage then trains on:
    keys laid over ``sweep``, ``{}`` for none of its own; null for no search. The first stage has no model before it."""


class PipelineRecipe(Settings):
    """A whole run: data sets, members, stages one after another, evaluation, export and publication.

    A member's training recipe in a stage is made of overlays: ``train``, its variant, its own keys under ``members``,
    the stage's, and the variant's for that stage.
    """

    description: str
    """One line for a person."""
    extract: ExtractKeys = {}
    """Keys of the extraction recipe that all data sets share."""
    datasets: dict[str, DatasetSettings] = Field(min_length=1)
    """By the name that they get in every ``media_id``."""
    members: dict[str, TrainKeys] = Field(min_length=1)
    """By the name of their variant, keys of the training recipe of their own; ``{}`` for none. All are of one task."""
    train: TrainKeys = {}
    """Keys of the training recipe that all members share."""
    stages: dict[StageName, Stage] = Field(min_length=1)
    """By name, in order."""
    sweep: SweepKeys = {}
    """Settings that all sweeps share."""
    fit: str | None = None
    """The data set on whose val split temperatures, weights and operating points are chosen, and by whose test split
    releases are gated; null for that of the last stage."""
    evaluated: tuple[str, ...] | None = None
    """Data sets on whose test splits the bundle and the stages before are evaluated; null for all."""
    evaluate: EvaluateKeys = {}
    """Settings of the evaluation; earlier stages are fitted by the keys of ``export``, unless given here."""
    export: ExportKeys
    """Settings of the export, which takes the models of the last stage."""
    publish: PublishKeys = {}
    """Settings of the publication, which is gated by the figures of the bundle."""
    resources: StepResources = StepResources()
    """What tasks ask of the cluster, by step."""
    cluster: ClusterSettings = ClusterSettings()
    """What the cluster calls things."""
    parallel_members: int = Field(default=1, ge=1)
    """Members trained at one time."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        named = {f"stages.{name}.dataset": stage.dataset for name, stage in self.stages.items()}
        named |= {f"evaluated.{number}": name for number, name in enumerate(self.evaluated or ())}
        named |= {} if self.fit is None else {"fit": self.fit}
        for key, name in named.items():
            if name not in self.datasets:
                raise ValueError(f"{key} = {name!r}: {unknown_name('data set', name, self.datasets)}")
        return self

    @model_validator(mode="after")
    def _check_sweeps(self) -> Self:
        first, stage = next(iter(self.stages.items()))
        if stage.sweep is not None:
            raise ValueError(
                f"stages.{first}.sweep: the first stage has no model before it to search with; leave it out"
            )
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
    def evaluated_datasets(self) -> list[str]:
        """The data sets that are evaluated on, the one that decides first."""
        others = self.datasets if self.evaluated is None else self.evaluated
        return list(dict.fromkeys([self.fit_dataset, *others]))

    @property
    def used_datasets(self) -> dict[str, DatasetSettings]:
        """The data sets that are extracted, by name."""
        names = [*(stage.dataset for stage in self.stages.values()), *self.evaluated_datasets]
        return {name: self.datasets[name] for name in dict.fromkeys(names)}

    @property
    def earlier_stages(self) -> Mapping[str, str | None]:
        """By stage the one before it; None before the first."""
        names = list(self.stages)
        return dict(zip(names, [None, *names[:-1]], strict=True))
