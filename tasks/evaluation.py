"""Reading what an evaluation measured; imports nothing heavy, so that publication needs no torch."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInputError, MismatchError
from core.files import sha256_file
from tasks.task import BUNDLE, CURRENT, TASKS, ReleaseFigures

METRICS_FILE = "metrics.json"
FIGURES_FILE = "figures.md"  # of a bundle, for people
IN_WORDS = {
    BUNDLE: "the bundle, judged as it is served, with its own temperatures, weights and decisions",
    CURRENT: "what is released at present, judged again on the same media",
}


@dataclass(frozen=True)
class Evaluated:
    """A bundle that was judged: its version and SHA-256, what ran it, and its figures."""

    version: str
    sha256: str
    runtime: str
    figures: ReleaseFigures


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation says of a bundle.

    Attributes:
        task: name of the task.
        bundle: what a release is gated by.
        current: what was released at that time, on the same media; None where it was not judged.
        left_out: why it was not; "" where it was, or was not asked for.
        dataset: name of the data set that decides.
        dataset_sha256: of its index.
        degradations: that its test media also went through.
        sha256: of the evaluation's metrics.
    """

    task: str
    bundle: Evaluated
    current: Evaluated | None
    left_out: str
    dataset: str
    dataset_sha256: str
    degradations: tuple[str, ...]
    sha256: str


def read_evaluation(folder: Path) -> Evaluation:
    """Read what an evaluation step's ``metrics.json`` says of the bundle that it judged.

    Args:
        folder: that the evaluation wrote.

    Raises:
        BadInputError: ``not-an-evaluation`` when the file is missing or lacks what is needed.
        MismatchError: when no bundle was judged.
        SettingsError: when the task is unknown.
    """
    path = folder / METRICS_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        main = str(document["main_dataset"])
        bundle, current = (_evaluated(document, name) for name in (BUNDLE, CURRENT))
        found = Evaluation(
            task=str(document["task"]),
            bundle=bundle or _no_bundle(path),
            current=current,
            left_out=str(document["left_out"]),
            dataset=main,
            dataset_sha256=str(document["datasets"][main]["sha256"]),
            degradations=tuple(document["recipe"]["degradations"]),
            sha256=sha256_file(path),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            "not-an-evaluation", f"{path} is not what python -m components.evaluate writes ({error!r})"
        ) from error
    return found


def _evaluated(document: Mapping[str, Any], name: str) -> Evaluated | None:
    one = document[name]
    if one is None:
        return None
    figures = TASKS.get(document["task"]).release_figures(document["groups"][name], document)
    return Evaluated(str(one["version"]), str(one["sha256"]), str(one["runtime"]), figures)


def _no_bundle(path: Path) -> Evaluated:
    raise MismatchError(f"{path} is of trained models alone; evaluate the bundle: --bundle")


def bundles_in_words(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence for a report on each bundle that ``metrics.json`` has figures of."""
    return [
        f"{name}: {words}; {one['name']} {one['version']}, sha256 {one['sha256'][:12]}, run by {one['runtime']}."
        for name, words in IN_WORDS.items()
        if (one := document[name])
    ]


def worst_retained(clean: float | None, degraded: Sequence[float | None], chance: float = 0.0) -> float | None:
    """Return the smallest share of a figure above chance that is left under any degradation, 0 or more.

    Args:
        clean: the figure as things are.
        degraded: the figure under each degradation.
        chance: what guessing reaches.

    Returns:
        None where there is no degradation, or a figure is not defined, or the clean one is no better than chance.
    """
    values = [value for value in map(finite, degraded) if value is not None]
    if clean is None or clean <= chance or not values or len(values) < len(degraded):
        return None
    return max(0.0, min(values) - chance) / (clean - chance)


def finite(value: Any) -> float | None:
    """Return a figure; None where it is not defined, which JSON may also spell NaN."""
    return None if value is None or not math.isfinite(value) else float(value)
