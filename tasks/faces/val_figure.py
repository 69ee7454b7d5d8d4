"""What exported classifiers of faces are compared by on val: the AUC of whole media."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from sklearn.metrics import roc_auc_score

from bundle.document import Bundle
from bundle.faces.analysis import analyze_faces
from bundle.runtimes import Networks
from data.labels import is_manipulated
from data.stored import load_sample
from data.tracks import find_tracks
from judging.guard import require_val
from media.view import StoredSample
from tasks.task import ENSEMBLE, ExportJob


@dataclass(frozen=True)
class _Crop:
    track: int
    run: int
    frame: int
    sample: StoredSample


@dataclass(frozen=True)
class _Medium:
    crops: list[_Crop]


def measure(job: ExportJob, bundle: Bundle, networks: Mapping[str, Networks]) -> dict[str, float]:
    """Return the AUC of media on val, of each member and of the ensemble; see ``ValFigure``.

    Media of which a member abstains do not count for it.

    Raises:
        SplitLeakError: when a row is not of the val split.
        BadInputError: when a crop cannot be read.
    """
    require_val(job.val.column("split"), "whether INT8 is written")
    scores: dict[str, list[tuple[bool, float]]] = {
        name: [] for name in (*(member.name for member in bundle.members), ENSEMBLE)
    }
    ordered = job.val.table.take(find_tracks(job.val).rows).to_pylist()
    for _, rows in groupby(ordered, key=lambda row: row["media_id"]):
        medium, manipulated = [], False
        for row in rows:
            medium.append(_Crop(row["track"], row["run"], row["frame"], load_sample(row, job.reader)))
            manipulated = bool(is_manipulated(np.array(row["label"])))
        verdict = analyze_faces(_Medium(medium), bundle, networks)
        for opinion in verdict.members:
            scores[opinion.name].append((manipulated, opinion.probability))
        if verdict.probability is not None:
            scores[ENSEMBLE].append((manipulated, verdict.probability))
    return {name: _auc(of) for name, of in scores.items()}


def _auc(scores: list[tuple[bool, float]]) -> float:
    labels = [manipulated for manipulated, _ in scores]
    if len(set(labels)) < 2:
        return float("nan")
    return float(roc_auc_score(labels, [score for _, score in scores]))
