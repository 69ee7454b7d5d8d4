"""What an evaluation refuses before it begins."""

from pathlib import Path

import pyarrow.compute as pc

from core.errors import BadInputError
from data.index import SampleIndex
from judging.guard import SplitLeakError


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
