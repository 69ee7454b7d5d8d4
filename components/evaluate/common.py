"""What the evaluations of both tasks share: their files, their summary and what they refuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluate.recipe import EvaluateRecipe
from core.errors import BadInputError
from data.index import SampleIndex
from judging.guard import SplitLeakError

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class EvaluationSummary:
    """The main figures of each group's ensemble by name, None where not defined.

    ``judged`` counts the pictures or media judged, ``rejected`` the pictures that could not be read.
    """

    groups: Mapping[str, Mapping[str, float | None]]
    judged: int
    rejected: int


@dataclass(frozen=True)
class Request:
    """What is to be evaluated.

    Attributes:
        datasets: index folders whose test splits are judged, at least one.
        models: model folders or checkpoints by group.
        output: folder to write.
        recipe: how to judge.
        fit_dataset: index folder whose val split decides.
        cache: folder for shards fetched from S3, None for the default.
    """

    datasets: Sequence[Path]
    models: Mapping[str, Sequence[Path]]
    output: Path
    recipe: EvaluateRecipe
    fit_dataset: Path
    cache: Path | None


def check_splits(test: SampleIndex, val: SampleIndex, dataset: Path, fit_dataset: Path) -> None:
    """Check that there is something to judge and something else to choose on.

    Raises:
        BadInputError: ``empty-split`` when either has no picture.
        SplitLeakError: when they share one.
    """
    if not len(test):
        raise BadInputError(
            "empty-split", f"{dataset} has no test pictures; extract it with a test split, or all of it as test"
        )
    if not len(val):
        raise BadInputError(
            "empty-split",
            f"{fit_dataset} has no val pictures to choose an operating point on; give the data set that the models "
            "were trained on as fit_dataset",
        )
    shared = set(test.column("sample_id")) & set(val.column("sample_id"))
    if shared:
        raise SplitLeakError(
            f"{len(shared)} pictures of {dataset} (test) are in {fit_dataset} (val), such as {min(shared)}; "
            "extract them with the same splits"
        )
