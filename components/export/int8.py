"""The gate of INT8: as good as the float network on val, and faster, or not written."""

import hashlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import MODEL, Bundle, BundleMember, Int8Outcome, int8_path, network_path
from bundle.reading import VerifiedBundle
from bundle.runtimes import Networks, Run, open_networks
from components.export.networks import describe_file
from components.export.quantization import quantize
from core.errors import SettingsError
from core.storage import open_store
from tasks.settings import Int8Settings
from tasks.task import ENSEMBLE, ExportJob, Task, ValFigure

ROUNDS = 9  # of timing; the median of their ratios counts
DECIMALS = 6

Arrays = Mapping[str, NDArray[Any]]
Members = Mapping[str, Networks]


@dataclass(frozen=True)
class Compared:
    """What a member reaches in float and in INT8; figures are NaN where undefined."""

    fp32: float
    int8: float
    speedup: float

    def refusal(self, figure: str, settings: Int8Settings) -> str | None:
        """Return why it is not written; None where it passes."""
        if not self.fp32 - self.int8 <= settings.max_loss:
            return f"{figure} on val {self.int8:.4f}, in float {self.fp32:.4f}: more than {settings.max_loss:g} lost"
        if not self.speedup >= settings.min_speedup:
            return f"{self.speedup:.2f} times the throughput of the float ONNX, asked for is {settings.min_speedup:g}"
        return None


def add_int8(draft: Bundle, folder: Path, task: Task, job: ExportJob) -> Bundle:
    """Write ``model`` of every member in INT8 into a bundle's folder, and remove again what does not pass the gate.

    Ranges of activations are taken from inputs of val, and figures are those of val.

    Args:
        draft: the bundle's document, whose float files are there.
        folder: of the bundle.
        task: of the bundle.
        job: what is exported; nothing happens where its settings do not ask for INT8.

    Returns:
        The document with what was written, and what came of it.

    Raises:
        ExportError: when a network cannot be quantised.
        SettingsError: when the task has no figure to go by.
    """
    settings = job.settings.int8
    if settings is None:
        return draft
    if task.val_figure is None:
        raise SettingsError(f"int8: the task {task.name} has no figure to gate it by; leave the key out")
    fp32 = open_networks(_opened(draft, folder), "onnx")
    batches = {
        member.name: _calibration(task, job, member, fp32[member.name], settings.calibration_samples)
        for member in draft.members
    }
    for name, own in batches.items():
        quantize(folder / network_path(name, MODEL, "onnx"), folder / int8_path(name, MODEL), own)
    candidate = _with_outcomes(draft, folder, {member.name: _unjudged(task.val_figure) for member in draft.members})
    speedups = _speedups(_opened(candidate, folder), batches)
    int8 = open_networks(_opened(candidate, folder), "onnx", precision="int8")
    outcomes = _judge(draft, job, task.val_figure, settings, fp32, int8, speedups)
    for name, outcome in outcomes.items():
        if outcome.refused:
            (folder / int8_path(name, MODEL)).unlink()
    return _with_outcomes(draft, folder, outcomes)


def _judge(
    draft: Bundle,
    job: ExportJob,
    figure: ValFigure,
    settings: Int8Settings,
    fp32: Members,
    int8: Members,
    speedups: Mapping[str, float],
) -> dict[str, Int8Outcome]:
    """Judge every member by itself, then those that pass as they would be served, beside the others in float."""
    expected, found = figure.measure(job, draft, fp32), figure.measure(job, draft, int8)
    compared = {name: Compared(expected[name], found[name], speedups[name]) for name in speedups}
    refused = {name: one.refusal(figure.name, settings) for name, one in compared.items()}
    passing = [name for name, reason in refused.items() if reason is None]
    if passing and len(draft.members) > 1:
        served = {name: int8[name] if name in passing else fp32[name] for name in compared}
        together = found if len(passing) == len(compared) else figure.measure(job, draft, served)
        whole = Compared(expected[ENSEMBLE], together[ENSEMBLE], math.inf).refusal(figure.name, settings)
        if whole:
            refused |= dict.fromkeys(passing, f"together with {' and '.join(passing)} the ensemble's {whole}")
    return {
        name: Int8Outcome(
            figure=figure.name,
            fp32=_rounded(one.fp32),
            int8=_rounded(one.int8),
            speedup=round(one.speedup, 3),
            refused=refused[name],
        )
        for name, one in compared.items()
    }


def _calibration(task: Task, job: ExportJob, member: BundleMember, networks: Networks, count: int) -> list[Arrays]:
    """Return what the task's probe asks ``model`` about: inputs of val, spread evenly."""
    asked: list[Arrays] = []

    def recording(arrays: Arrays) -> dict[str, NDArray[np.float32]]:
        asked.append(arrays)
        return networks[MODEL](arrays)

    task.probe(job, member.name, member.decision, count)({**networks, MODEL: recording}, count)
    return asked


def _speedups(bundle: VerifiedBundle, batches: Mapping[str, Sequence[Arrays]]) -> dict[str, float]:
    """Time single items in turns, each in this thread alone: how many run beside each other, a server decides."""
    fp32 = open_networks(bundle, "onnx", threads=1)
    int8 = open_networks(bundle, "onnx", threads=1, precision="int8")
    found = {}
    for name, own in batches.items():
        item = {given: array[:1] for given, array in own[0].items()}
        runs = fp32[name][MODEL], int8[name][MODEL]
        for run in runs:
            run(item)
        found[name] = statistics.median(_seconds(runs[0], item) / _seconds(runs[1], item) for _ in range(ROUNDS))
    return found


def _seconds(run: Run, arrays: Arrays) -> float:
    """Return the seconds of a processor that a call takes, so that what else the machine does is not counted."""
    start = time.thread_time()
    run(arrays)
    return time.thread_time() - start


def _opened(document: Bundle, folder: Path) -> VerifiedBundle:
    return VerifiedBundle(document, hashlib.sha256(document.to_document()).hexdigest(), open_store(str(folder)))


def _unjudged(figure: ValFigure) -> Int8Outcome:
    return Int8Outcome(figure=figure.name, fp32=None, int8=None, speedup=0.0)


def _with_outcomes(draft: Bundle, folder: Path, outcomes: Mapping[str, Int8Outcome]) -> Bundle:
    members = []
    for member in draft.members:
        outcome = outcomes[member.name]
        file = None if outcome.refused else describe_file(folder, int8_path(member.name, MODEL))
        networks = {**member.networks, MODEL: member.model.model_copy(update={"int8": file})}
        members.append(member.model_copy(update={"networks": networks, "int8": outcome}))
    return draft.model_copy(update={"members": tuple(members)})


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DECIMALS)
