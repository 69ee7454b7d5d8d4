"""What a task is: one kind of question that networks answer, as an object that steps look up and never ask its name.

A task is a sub-package of ``tasks`` whose ``__init__`` exposes ``TASK``. The half of it that a server needs is the
sub-package of ``bundle`` of the same name. What a task does in training, evaluation and export is named by references
(``core.lazy``), so that looking one up imports neither torch nor scikit-learn: publication has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.registry import Registry
from core.settings import Settings
from tasks.settings import (
    EvaluateSettings,
    ExportSettings,
    FitSettings,
    GateSettings,
    SamplingSettings,
    SweepSettings,
)

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.data import Dataset

    from bundle.document import Bundle, Format
    from bundle.reading import VerifiedBundle
    from bundle.runtimes import Networks
    from data.index import SampleIndex
    from data.shards import ShardReader
    from judging.calibration import EnsembleWeights
    from judging.choice import Choice
    from media.spec import InputSpec
    from models.checkpoint import LoadedNetwork


ENSEMBLE = "ensemble"  # what choices and predictions of all members together are called
BUNDLE, CURRENT = "bundle", "current"  # groups of an evaluation that are bundles


@dataclass(frozen=True)
class TrainingRequest:
    """What is to be trained on.

    Attributes:
        index: rows of the train split.
        reader: of the shards that ``index`` points into.
        hard_negatives: sample ids of authentic rows.
        input: what the network reads.
        clips: whether the network takes clips.
        policy: name of the augmentation policy.
        sampling: how often each sample is drawn; an instance of the task's own settings.
    """

    index: SampleIndex
    reader: ShardReader
    hard_negatives: frozenset[str]
    input: InputSpec
    clips: bool
    policy: str
    sampling: SamplingSettings


@dataclass(frozen=True)
class TrainingSamples:
    """Samples to train on.

    Attributes:
        dataset: items by (unit, seed).
        collate: puts items into a batch: ``views`` by name [N, ...], with ``<view>_present`` bool [N] for optional
            ones; ``label`` int64 [B]; ``row`` int64 [B]; ``sample_id``, a list of B; for clips ``lengths`` int64 [B],
            which add up to N; and what the task's losses read besides.
        weights: how often each unit of the data set is drawn, float64 [units].
    """

    dataset: Dataset[Any]
    collate: Callable[[Any], dict[str, Any]]
    weights: NDArray[np.float64]


def only_this(item: Any) -> list[Any]:
    """Gather the items of a single process."""
    return [item]


@dataclass(frozen=True)
class ValidationRequest:
    """A network and the val split that it is validated on.

    Attributes:
        network: normalised views in; in whatever mode, which is put back.
        index: rows of the val split.
        reader: of the shards that ``index`` points into.
        input: what the network reads.
        clips: whether it takes clips.
        device: where it is.
        batch_size: items a forward pass.
        precision: ``fp32`` or ``bf16``.
        max_authentic_fpr: ceiling on the share of authentic media called manipulated, 0..1.
        workers: threads that read and decode ahead.
        rank: which of the processes that validate together this is; each predicts its part of the rows.
        world: how many they are.
        gather: returns every process's item by rank in the first, None in the others; all call it alike.
    """

    network: nn.Module
    index: SampleIndex
    reader: ShardReader
    input: InputSpec
    clips: bool
    device: torch.device
    batch_size: int
    precision: str
    max_authentic_fpr: float
    workers: int = 2
    rank: int = 0
    world: int = 1
    gather: Callable[[Any], list[Any] | None] = only_this


@dataclass(frozen=True)
class ExportedBundle:
    """A bundle that is evaluated as it is served: nothing is fitted or chosen for it.

    Attributes:
        bundle: verified.
        runtime: that its networks were opened with.
        networks: by member.
    """

    bundle: VerifiedBundle
    runtime: Format
    networks: Mapping[str, Networks]

    @property
    def identity(self) -> dict[str, str]:
        """What ``metrics.json`` says of it."""
        document = self.bundle.document
        found = {"name": document.name, "version": document.version, "sha256": self.bundle.sha256}
        return {**found, "runtime": self.runtime}


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated.

    Attributes:
        datasets: index folders whose test splits are read, at least one; the first is the one that decides.
        models: trained model folders or checkpoints by group, in the order in which they were trained; they are fitted
            on val as an export would.
        output: folder to write.
        settings: an instance of the task's own settings.
        fit_dataset: index folder whose val split decides.
        cache: folder for shards fetched from S3, None for the default.
        bundles: by group, ``BUNDLE`` what a release is gated by, and ``CURRENT`` what is released at present.
        left_out: why what is released at present cannot be judged; "" where it is, or nothing is released.
    """

    datasets: Sequence[Path]
    models: Mapping[str, Sequence[Path]]
    output: Path
    settings: EvaluateSettings
    fit_dataset: Path
    cache: Path | None
    bundles: Mapping[str, ExportedBundle] = field(default_factory=dict)
    left_out: str = ""

    @property
    def identities(self) -> dict[str, dict[str, str] | str | None]:
        """What ``metrics.json`` says of the bundles, by group, None for one that is not there; and ``left_out``."""
        judged = {name: self.bundles[name].identity if name in self.bundles else None for name in (BUNDLE, CURRENT)}
        return {**judged, "left_out": self.left_out}


@dataclass(frozen=True)
class EvaluationSummary:
    """The main figures of each group's ensemble by name, None where not defined.

    ``evaluated`` counts the pictures or media, ``rejected`` the samples that could not be read.
    """

    groups: Mapping[str, Mapping[str, float | None]]
    evaluated: int
    rejected: int


@dataclass(frozen=True)
class SweepRequest:
    """A search for hard negatives: see ``components.sweep_hard_negatives``.

    ``part`` names the only one of the settings' ``parts`` to do; None does those that are not in ``store`` yet, a URI
    that may be empty, and makes the list of all.
    """

    dataset: Path
    model: Path
    output: Path
    settings: SweepSettings
    cache: Path | None
    store: str = ""
    part: int | None = None


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep found.

    Attributes:
        hard_negatives: how many were written.
        found: how many there were, before the limit.
        searched: authentic train samples looked at.
        rejected: samples that could not be read.
        decision: what was chosen on val.
        meets_ceiling: whether it is under the ceiling on false positives.
    """

    hard_negatives: int
    found: int
    searched: int
    rejected: int
    decision: Settings
    meets_ceiling: bool


@dataclass(frozen=True)
class ReleaseFigures:
    """What an evaluation says of one group's ensemble.

    Attributes:
        gate: figures by name, as ``Task.gate_figures`` names them; None where not measured.
        shown: figures by heading for a person, None where not defined.
        members: the same of each member by itself, by its name.
    """

    gate: Mapping[str, float | None]
    shown: Mapping[str, float | None]
    members: Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class GateFigure:
    """One figure that a release is gated by.

    Attributes:
        name: of the figure, such as ``authentic_fpr``.
        key: of the task's gate settings that holds its limit.
        higher_is_better: whether the limit is a floor rather than a ceiling.
        compared: whether it is also held against the current release's.
    """

    name: str
    key: str
    higher_is_better: bool = True
    compared: bool = True


@dataclass(frozen=True)
class FitJob:
    """What is fitted, and on what.

    Attributes:
        networks: by member name, all of one task, on the device that the settings say.
        val: rows of the val split.
        reader: of the shards that ``val`` points into.
        settings: an instance of the task's own settings.
    """

    networks: Mapping[str, LoadedNetwork]
    val: SampleIndex
    reader: ShardReader
    settings: FitSettings


@dataclass(frozen=True)
class ExportJob(FitJob):
    """What is exported, and on what it is fitted and compared."""

    settings: ExportSettings


@dataclass(frozen=True)
class Fitted:
    """What was chosen on val; ``choices`` has an entry for each member and one called ``ENSEMBLE``."""

    temperatures: Mapping[str, float]
    weights: EnsembleWeights
    choices: Mapping[str, Choice]


class Probe(Protocol):
    """Asks networks, trained or exported, about the same real inputs of val."""

    @property
    def cut(self) -> float:
        """Calibrated logit, logit / temperature, from which on the member's decision calls an item manipulated."""

    def __call__(self, networks: Networks, count: int) -> Mapping[str, NDArray[np.float32]]:
        """Return the outputs for the first ``count`` inputs by name; ``heatmap`` is one, all others are logits."""


@dataclass(frozen=True)
class ValFigure:
    """What exported networks of a task are compared by on val, where their logits must not be equal.

    Attributes:
        name: of the figure; higher is better.
        measure: (``ExportJob``, the bundle's document, its networks by member) to the figure of each member by itself
            and of ``ENSEMBLE``, at the decisions of the document; NaN where undefined. Reads the job's val rows alone.
    """

    name: str
    measure: Callable[[ExportJob, Bundle, Mapping[str, Networks]], Mapping[str, float]]


@dataclass(frozen=True)
class CardTexts:
    """What the model card says of a task.

    Attributes:
        description: one paragraph on what a bundle does.
        how: what the networks are given and how the verdict comes about.
        limits: known limits.
        medium: what one file is called.
        robustness: of what the worst degradation leaves a share.
        decision: (decision) to a sentence that says from when on the bundle speaks up.
    """

    description: str
    how: str
    limits: tuple[str, ...]
    medium: str
    robustness: str
    decision: Callable[[Any], str]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: in families, bundles and evaluations; that of its sub-package here and in ``bundle``.
        sampling: settings of ``train.sampling``.
        evaluate_settings: of the evaluation.
        export_settings: of the export.
        gate_settings: of ``publish.gate``.
        sweep_settings: of the sweep; None where there is none.
        gate_figures: what a release is gated by.
        card: texts of the model card.
        training_samples: (``TrainingRequest``) to ``TrainingSamples``; raises ``SettingsError`` for what does not suit.
        validate: (``ValidationRequest``) to metrics by name, ``loss`` or other; they hold ``authentic_fpr``. None in
            all but the first of several processes.
        evaluate: (``EvaluationRequest``) to ``EvaluationSummary``; writes ``metrics.json`` with ``task``, the
            request's ``identities``, ``main_dataset``, ``datasets`` with the ``sha256`` of each by name, ``recipe`` and
            ``groups``; a table, ``rejected.jsonl`` and ``report.html``.
        release_figures: (a group of ``metrics.json``, all of it) to ``ReleaseFigures``; imports nothing heavy.
        fit: (``FitJob``) to ``Fitted``; evaluation fits earlier stages with the same.
        probe: (``ExportJob``, member name, decision, count) to a ``Probe`` on ``count`` inputs of val.
        sweep: (``SweepRequest``) to ``SweepSummary``, of a part to None; None where there is none.
        val_figure: what networks in INT8 are gated by; None where a task exports none.
    """

    name: str
    sampling: type[SamplingSettings]
    evaluate_settings: type[EvaluateSettings]
    export_settings: type[ExportSettings]
    gate_settings: type[GateSettings]
    gate_figures: tuple[GateFigure, ...]
    card: CardTexts
    training_samples: Callable[[TrainingRequest], TrainingSamples]
    validate: Callable[[ValidationRequest], dict[str, float] | None]
    evaluate: Callable[[EvaluationRequest], EvaluationSummary]
    release_figures: Callable[[Mapping[str, Any], Mapping[str, Any]], ReleaseFigures]
    fit: Callable[[FitJob], Fitted]
    probe: Callable[[ExportJob, str, Settings, int], Probe]
    sweep_settings: type[SweepSettings] | None = None
    sweep: Callable[[SweepRequest], SweepSummary | None] | None = None
    val_figure: ValFigure | None = None


TASKS: Registry[Task] = Registry("tasks", "TASK", "task", folders=True)
