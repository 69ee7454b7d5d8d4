"""From the logits of media to the figures of a classifier of faces on val, and the threshold of its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from core.errors import BadInputError
from data.labels import AUTHENTIC, is_manipulated
from judging.bootstrap import Bootstrap
from judging.detection import detection_metrics
from judging.guard import require_val
from tasks.faces.media_scores import Calibration, MediaLogits

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold of the verdict on whole media, and what it gives on the media it was chosen on.

    A medium whose probability is at or above ``threshold`` is called manipulated. ``authentic_fpr`` is the share of
    authentic media called so.
    """

    threshold: float
    balanced_accuracy: float
    authentic_fpr: float


def choose_threshold(
    labels: NDArray[np.int64], scores: Vector, splits: Sequence[str], *, max_authentic_fpr: float = 1.0
) -> ThresholdChoice:
    """Choose the threshold of highest balanced accuracy whose false-positive rate on val is under a ceiling.

    The candidates lie in the middle between neighbouring scores, and at 0 and 1; ties go to the lower false-positive
    rate, then to the candidate nearest to 0.5. Where none is under the ceiling, because authentic media score 1, the
    lowest false-positive rate is taken.

    Args:
        labels: of the classes, 0 authentic, [M].
        scores: probabilities of the media, 0..1, [M].
        splits: of the media; all ``val``.
        max_authentic_fpr: the ceiling, 0..1.

    Raises:
        SplitLeakError: when a medium is not of the val split.
        BadInputError: ``empty-class`` when a class has no medium.
    """
    require_val(splits, "the threshold")
    require_both(labels)
    distinct = np.unique(scores)
    candidates = np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2, [1.0]])
    fpr = _called(scores[labels == AUTHENTIC], candidates)
    accuracy = (_called(scores[is_manipulated(labels)], candidates) + 1 - fpr) / 2
    allowed = np.flatnonzero(fpr <= max(max_authentic_fpr, fpr.min()))
    order = np.lexsort([np.abs(candidates[allowed] - 0.5), fpr[allowed], -accuracy[allowed].round(9)])
    best = allowed[order[0]]
    return ThresholdChoice(float(candidates[best]), float(accuracy[best]), float(fpr[best]))


def _called(scores: Vector, thresholds: Vector) -> Vector:
    """Return the share of the scores that is at or above each threshold."""
    return np.asarray((len(scores) - np.searchsorted(np.sort(scores), thresholds)) / len(scores))


def validation_figures(media: MediaLogits, member: str, max_authentic_fpr: float) -> dict[str, float]:
    """Return what the training loop monitors of one member, on those media of the val split that it can judge.

    Returns:
        ``loss``, the mean binary cross-entropy over what the network is trained on: clips where it has clips, else
        frames; ``frame_auc`` over frames, each judged alone; and over whole media ``auc``, ``eer``, and the
        ``threshold`` of ``choose_threshold`` with its ``balanced_accuracy`` and ``authentic_fpr``.

    Raises:
        SplitLeakError: when a medium is not of the val split.
        BadInputError: ``empty-class`` when a class has no medium.
    """
    alone = {member: Calibration()}
    media = media.scored_by(alone)
    labels, scores = media.label, media.scores(alone)
    choice = choose_threshold(labels, scores, media.column("split").tolist(), max_authentic_fpr=max_authentic_fpr)
    frames, medium_of_frame = media.frame_logits(member)
    units, medium_of_unit = media.clip_logits(member) if media.has_clips(member) else (frames, medium_of_frame)
    groups = media.groups.codes
    detection = detection_metrics(labels, scores, groups, threshold=choice.threshold, bootstrap=Bootstrap(resamples=0))
    return {
        "loss": _cross_entropy(units, labels[medium_of_unit]),
        "auc": detection["auc"],
        "frame_auc": float(roc_auc_score(media.manipulated[medium_of_frame], frames)),
        "eer": detection["eer"],
        "threshold": choice.threshold,
        "balanced_accuracy": choice.balanced_accuracy,
        "authentic_fpr": choice.authentic_fpr,
    }


def _cross_entropy(logits: Vector, labels: NDArray[np.int64]) -> float:
    # -log sigmoid(z) = log(1 + exp(-z)), which logaddexp gives without overflow.
    return float(np.mean(np.logaddexp(0, np.where(is_manipulated(labels), -logits, logits))))


def require_both(labels: NDArray[np.int64]) -> None:
    """Require media of both classes.

    Raises:
        BadInputError: ``empty-class``.
    """
    manipulated = is_manipulated(labels)
    missing = [name for name, found in (("authentic", ~manipulated), ("manipulated", manipulated)) if not found.any()]
    if missing:
        raise BadInputError(
            "empty-class",
            f"the val split has no {' and no '.join(missing)} media, so no threshold can be chosen; extract with more",
        )
