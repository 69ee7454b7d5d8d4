"""What exported networks that mark regions are compared by on val: F1 at their operating points."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bundle.document import Bundle
from bundle.regions.analysis import Ensemble, member_maps
from bundle.regions.verdict import OperatingPoint, decide
from bundle.runtimes import Networks
from core.settings import Settings
from data.stored import load_sample
from judging.guard import require_val
from tasks.regions.statistics import f1_score
from tasks.task import ENSEMBLE, ExportJob


def measure(job: ExportJob, bundle: Bundle, networks: Mapping[str, Networks]) -> dict[str, float]:
    """Return the mean F1 over pictures of val with a forged region, by member and ensemble; see ``ValFigure``.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: when a picture cannot be read.
    """
    require_val(job.val.column("split"), "whether INT8 is written")
    scores: dict[str, list[float]] = {name: [] for name in (*(member.name for member in bundle.members), ENSEMBLE)}
    for row in job.val.rows():
        sample = load_sample(row, job.reader)
        if sample.mask is None or not sample.mask.any():
            continue
        ensemble = Ensemble(bundle, sample.mask.shape)
        for member, probability in member_maps(sample.rgb, bundle, networks):
            ensemble.add(member, probability)
            scores[member.name].append(_f1(decide(probability, _point(member.decision)).mask, sample.mask))
        scores[ENSEMBLE].append(_f1(ensemble.verdict().verdict.mask, sample.mask))
    return {name: float(np.mean(values)) if values else float("nan") for name, values in scores.items()}


def _f1(marked: NDArray[np.bool_], forged: NDArray[np.bool_]) -> float:
    counts = ((marked & forged).sum(), (marked & ~forged).sum(), (~marked & forged).sum())
    return float(f1_score(*(np.asarray(count, dtype=np.int64) for count in counts)))


def _point(decision: Settings) -> OperatingPoint:
    assert isinstance(decision, OperatingPoint)  # noqa: S101 - the document checks it
    return decision
