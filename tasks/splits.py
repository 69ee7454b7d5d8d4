"""The data sets of an evaluation, and what it refuses before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from core.errors import BadInputError, SettingsError
from data.index import SampleIndex, read_index
from judging.guard import SplitLeakError
from tasks.task import EvaluationRequest


@dataclass(frozen=True)
class JudgedData:
    """What an evaluation reads.

    Attributes:
        fit: the data set that everything is chosen on.
        val: its rows of the val split.
        tests: rows of the test split by name of the data set; the first decides.
    """

    fit: SampleIndex
    val: SampleIndex
    tests: Mapping[str, SampleIndex]

    @property
    def main(self) -> str:
        """Name of the data set that decides."""
        return next(iter(self.tests))

    @property
    def indexes(self) -> list[SampleIndex]:
        """All that models must be able to read."""
        return [self.fit, *self.tests.values()]


def read_data(request: EvaluationRequest) -> JudgedData:
    """Read the data sets of an evaluation.

    Raises:
        SettingsError: when two data sets have one name.
        BadInputError: ``empty-split`` when one has no test sample, or there is no val sample; others when one cannot be
            read.
        SplitLeakError: when a test sample is also in the split that is chosen on.
    """
    fit = read_index(request.fit_dataset)
    val = fit.where(split="val")
    tests: dict[str, SampleIndex] = {}
    for path in request.datasets:
        index = fit if path == request.fit_dataset else read_index(path)
        test = index.where(split="test")
        check_splits(test, val, path, request.fit_dataset)
        name = "+".join(sorted(set(test.column("dataset"))))
        if name in tests:
            raise SettingsError(f"{path} is a second data set called {name!r}; extract it under another name")
        tests[name] = test
    return JudgedData(fit, val, tests)


def check_splits(test: SampleIndex, val: SampleIndex, dataset: Path, fit_dataset: Path) -> None:
    """Check that there is something to measure on and something else to choose on.

    Args:
        test: rows of the test split of ``dataset``.
        val: rows of the val split of ``fit_dataset``.
        dataset: index folder, for the errors.
        fit_dataset: index folder, for the errors.

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
    samples = test.table.column("sample_id")
    shared = samples.filter(pc.is_in(samples, val.table.column("sample_id")))
    if len(shared):
        raise SplitLeakError(
            f"{len(shared)} pictures of {dataset} (test) are in {fit_dataset} (val), such as {pc.min(shared)}; "
            "extract them with the same splits"
        )
