"""Detection: figures of scores and verdicts over whole pictures, frames or media, for any family of models.

Point values of AUC, AP and the ROC come from scikit-learn. The same figures over a matrix of bootstrap weights are
computed here for all resamples at once; the tests hold them to scikit-learn's with ``sample_weight``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from data.labels import AUTHENTIC, is_manipulated
from judging.bootstrap import Bootstrap, Weights, intervals
from judging.ratios import ratio

Vector = NDArray[np.float64]

FPR_LIMITS = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
ECE_BINS = 15  # C. Guo et al., On Calibration of Modern Neural Networks (2017)
NEEDS_BOTH = ("auc", "ap", "eer", *FPR_LIMITS, "balanced_accuracy", "macro_f1")


def equal_error_rate(fpr: Vector, tpr: Vector) -> Vector:
    """Return where the false-positive rate equals the false-negative rate, between ROC points by a straight line.

    Args:
        fpr: [R, T], ascending from 0.
        tpr: [R, T], ascending from 0.
    """
    gap = fpr + tpr - 1
    after = np.maximum(np.argmax(gap >= 0, axis=1), 1)
    rows = np.arange(len(fpr))
    g0, g1 = gap[rows, after - 1], gap[rows, after]
    f0, f1 = fpr[rows, after - 1], fpr[rows, after]
    return np.asarray(f0 + (f1 - f0) * ratio(-g0, g1 - g0))


def tpr_at_fpr(fpr: Vector, tpr: Vector, limit: float) -> Vector:
    """Return the highest true-positive rate reached at a false-positive rate of at most ``limit``; no interpolation.

    With fewer than 1/limit authentic pictures that means none of them.

    Args:
        fpr: [R, T].
        tpr: [R, T].
        limit: 0..1.
    """
    return np.asarray(np.where(fpr <= limit, tpr, 0.0).max(axis=1))


class Ranking:
    """AUC, AP, EER and TPR at fixed FPR of the same scores under many weightings."""

    def __init__(self, labels: NDArray[Any], scores: Vector) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        # Pictures of equal score pass a threshold together: only the last of each run is a point of the curve.
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(scores) else np.zeros(0, int)
        self._positive = is_manipulated(labels[self._order])

    def __call__(self, weights: Weights) -> dict[str, Vector]:
        """Return values [R] by name for weights [R, N]; NaN where a class has no weight."""
        ordered = weights[:, self._order]
        tp = np.cumsum(ordered * self._positive, axis=1)[:, self._ends]
        fp = np.cumsum(ordered * ~self._positive, axis=1)[:, self._ends]
        tp, fp = (np.pad(counts, ((0, 0), (1, 0))) for counts in (tp, fp))
        tpr, fpr = ratio(tp, tp[:, -1:]), ratio(fp, fp[:, -1:])
        undefined = np.isnan(tpr[:, -1]) | np.isnan(fpr[:, -1])
        precision = np.nan_to_num(ratio(tp[:, 1:], tp[:, 1:] + fp[:, 1:]))
        values = {
            "auc": np.sum(np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1),
            "ap": np.sum(np.diff(tpr) * precision, axis=1),
            "eer": equal_error_rate(fpr, tpr),
            **{name: tpr_at_fpr(fpr, tpr, limit) for name, limit in FPR_LIMITS.items()},
        }
        return {name: np.where(undefined, np.nan, value) for name, value in values.items()}


def _ranking_values(labels: NDArray[Any], scores: Vector) -> dict[str, float]:
    positive = is_manipulated(labels)
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    curve = (fpr[None], tpr[None])
    return {
        "auc": float(roc_auc_score(positive, scores)),
        "ap": float(average_precision_score(positive, scores)),
        "eer": float(equal_error_rate(*curve)[0]),
        **{name: float(tpr_at_fpr(*curve, limit)[0]) for name, limit in FPR_LIMITS.items()},
    }


def _verdict_values(
    labels: NDArray[Any], scores: Vector, verdicts: NDArray[np.bool_], weights: Weights
) -> dict[str, Vector]:
    """Figures of the verdicts and of calibration, [R] by name, for weights [R, N]."""
    positive = is_manipulated(labels)
    tp, fn = weights @ (positive & verdicts), weights @ (positive & ~verdicts)
    fp, tn = weights @ (~positive & verdicts), weights @ (~positive & ~verdicts)
    recall_forged, recall_authentic = ratio(tp, tp + fn), ratio(tn, tn + fp)
    both = ~np.isnan(recall_forged + recall_authentic)
    macro_f1 = (ratio(2 * tp, 2 * tp + fp + fn) + ratio(2 * tn, 2 * tn + fp + fn)) / 2
    member = np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1)[:, None] == np.arange(ECE_BINS)
    gaps = np.abs(weights @ (member * (scores - positive)[:, None])).sum(axis=1)
    return {
        "recall_authentic": recall_authentic,
        "recall_forged": recall_forged,
        "balanced_accuracy": (recall_forged + recall_authentic) / 2,
        "macro_f1": np.where(both, macro_f1, np.nan),
        "ece": ratio(gaps, weights.sum(axis=1)),
    }


def _by_medium(
    labels: NDArray[Any], scores: Vector, groups: NDArray[np.str_], media: NDArray[np.str_]
) -> tuple[NDArray[Any], Vector, NDArray[np.str_]]:
    """Reduce samples to media: the mean score; a medium is forged where any of its samples is."""
    _, first, member = np.unique(media, return_index=True, return_inverse=True)
    mean = np.bincount(member, weights=scores) / np.bincount(member)
    return (np.bincount(member, weights=is_manipulated(labels)) > 0).astype(np.int8), mean, groups[first]


def detection_metrics(
    labels: NDArray[Any],
    scores: Vector,
    groups: NDArray[np.str_],
    *,
    threshold: float,
    media: NDArray[np.str_] | None = None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return the figures of detection.

    Args:
        labels: of the classes, 0 authentic, [N].
        scores: probability-like, 0..1, [N].
        groups: the unit of resampling, [N].
        threshold: fixed beforehand on val; a score at or above it is called forged.
        media: when given, scores are first averaged over the samples of each medium.
        bootstrap: how the intervals are drawn.

    Returns:
        ``auc``, ``ap``, ``eer``, ``tpr_at_fpr_1`` and ``_5``, ``balanced_accuracy``, ``macro_f1``,
        ``recall_authentic``, ``recall_forged``, ``ece`` (15 equal bins, of the score as probability of being
        forged); ``counts`` by class; ``intervals`` [low, high] by name; and ``undefined``, which gives for every
        figure that is None the reason.
    """
    if media is not None:
        labels, scores, groups = _by_medium(labels, scores, groups, media)
    verdicts = scores >= threshold
    counts = {"authentic": int((labels == AUTHENTIC).sum()), "forged": int(is_manipulated(labels).sum())}
    missing = [name for name, count in counts.items() if not count]
    values: dict[str, float | None] = dict.fromkeys(NEEDS_BOTH)
    if not missing:
        values |= _ranking_values(labels, scores)
    ones = np.ones((1, len(labels)))
    values |= {name: float(value[0]) for name, value in _verdict_values(labels, scores, verdicts, ones).items()}
    ranking = Ranking(labels, scores)

    def figures(weights: Weights) -> Mapping[str, Vector]:
        return {**ranking(weights), **_verdict_values(labels, scores, verdicts, weights)}

    found = intervals(figures, groups, bootstrap)
    reason = f"no {' and no '.join(missing)} samples"
    return finish(values, found, dict.fromkeys(values, reason)) | {"counts": counts}


def finish(
    values: Mapping[str, float | None], found: Mapping[str, tuple[float, float]], reasons: Mapping[str, str]
) -> dict[str, Any]:
    """Turn NaN into None with its reason, and keep the intervals of the figures that are defined."""
    plain = {name: None if value is None or np.isnan(value) else float(value) for name, value in values.items()}
    return {
        **plain,
        "intervals": {name: list(found[name]) for name, value in plain.items() if value is not None and name in found},
        "undefined": {name: reasons[name] for name, value in plain.items() if value is None},
    }
