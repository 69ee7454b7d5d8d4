"""Detection: figures of scores and verdicts over whole pictures, frames or media, for any family of models.

Point values of AUC, AP and the ROC come from scikit-learn. The same figures over a matrix of bootstrap weights are
computed here for all resamples at once, from counts by group; the tests hold them to scikit-learn's with
``sample_weight``. Where there are more than ``LEVELS`` distinct scores, neighbours in rank count as equal there, about
1/``LEVELS`` of the samples together: that bounds what intervals cost. The values themselves are exact.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from data.labels import AUTHENTIC, is_manipulated
from judging.bootstrap import Bootstrap, Groups, Weights, intervals
from judging.ratios import ratio

Vector = NDArray[np.float64]

FPR_LIMITS = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
LEVELS = 2**14  # of scores in resamples
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
    """AUC, AP, EER and TPR at fixed FPR of the same scores under many weightings of their groups."""

    def __init__(self, labels: NDArray[Any], scores: Vector, groups: Groups) -> None:
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        starts = np.append(True, ordered[1:] != ordered[:-1])[: len(scores)]
        # Samples of equal score pass a threshold together: they are of the same level.
        level = np.cumsum(starts) - 1
        if starts.sum() > LEVELS:
            level = (np.flatnonzero(starts) * LEVELS // len(scores))[level]
        self._levels = int(level[-1]) + 1 if len(level) else 0
        row = level + self._levels * is_manipulated(labels[order])
        cells = (np.ones(len(row)), (row, groups.codes[order]))
        # [authentic levels, then manipulated ones; groups]: how many samples of a group are of a level.
        self._counts = scipy.sparse.csr_array(cells, shape=(2 * self._levels, groups.count))

    def __call__(self, weights: Weights) -> dict[str, Vector]:
        """Return values [R] by name for weights [R, G]; NaN where a class has no weight."""
        counts = (self._counts @ np.ascontiguousarray(weights.T)).reshape(2, self._levels, len(weights))
        fp, tp = np.ascontiguousarray(np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0), (0, 0))).transpose(0, 2, 1))
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


class Verdicts:
    """Figures of verdicts and of calibration under many weightings of the samples' groups."""

    def __init__(self, labels: NDArray[Any], scores: Vector, verdicts: NDArray[np.bool_], groups: Groups) -> None:
        positive = is_manipulated(labels)
        cells = [positive & verdicts, positive & ~verdicts, ~positive & verdicts, ~positive & ~verdicts]
        member = np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1)
        gaps = np.bincount(
            groups.codes * ECE_BINS + member, weights=scores - positive, minlength=groups.count * ECE_BINS
        )
        self._sums = np.column_stack([*map(groups.sums, cells), gaps.reshape(groups.count, ECE_BINS)])

    def __call__(self, weights: Weights) -> dict[str, Vector]:
        """Return values [R] by name for weights [R, G]; NaN where undefined."""
        sums = weights @ self._sums
        tp, fn, fp, tn = sums[:, :4].T
        recall_forged, recall_authentic = ratio(tp, tp + fn), ratio(tn, tn + fp)
        both = ~np.isnan(recall_forged + recall_authentic)
        macro_f1 = (ratio(2 * tp, 2 * tp + fp + fn) + ratio(2 * tn, 2 * tn + fp + fn)) / 2
        return {
            "recall_authentic": recall_authentic,
            "recall_forged": recall_forged,
            "balanced_accuracy": (recall_forged + recall_authentic) / 2,
            "macro_f1": np.where(both, macro_f1, np.nan),
            "ece": ratio(np.abs(sums[:, 4:]).sum(axis=1), tp + fn + fp + tn),
        }


def _by_medium(
    labels: NDArray[Any], scores: Vector, groups: NDArray[Any], media: NDArray[Any]
) -> tuple[NDArray[Any], Vector, NDArray[Any]]:
    """Reduce samples to media: the mean score; a medium is forged where any of its samples is."""
    _, first, member = np.unique(media, return_index=True, return_inverse=True)
    mean = np.bincount(member, weights=scores) / np.bincount(member)
    return (np.bincount(member, weights=is_manipulated(labels)) > 0).astype(np.int8), mean, groups[first]


def detection_metrics(
    labels: NDArray[Any],
    scores: Vector,
    groups: NDArray[Any],
    *,
    threshold: float,
    media: NDArray[Any] | None = None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return the figures of detection.

    Args:
        labels: of the classes, 0 authentic, [N].
        scores: probability-like, 0..1, [N].
        groups: the unit of resampling, [N]: names, or numbers that sort as the names do.
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
    unit = Groups.of(groups)
    verdict = Verdicts(labels, scores, verdicts, unit)
    values |= {name: float(value[0]) for name, value in verdict(unit.once).items()}
    ranking = Ranking(labels, scores, unit) if bootstrap.resamples else None

    def figures(weights: Weights) -> Mapping[str, Vector]:
        return {**(ranking(weights) if ranking else {}), **verdict(weights)}

    found = intervals(figures, unit, bootstrap)
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
