"""From the logits of media to the figures that ``metrics.json`` holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bundle.faces.scores import Scores
from data.labels import AUTHENTIC, is_manipulated
from judging.bootstrap import Bootstrap, Groups, Weights, intervals
from judging.detection import Ranking, detection_metrics
from tasks.faces.evaluation_groups import ChosenGroup, Part
from tasks.faces.media_scores import MediaLogits


def dataset_figures(media: MediaLogits, part: Part, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the figures of one ensemble or member on one data set.

    Args:
        media: of a test split; those of which the part abstains enter no figure.
        part: whose figures, with its threshold.
        bootstrap: how intervals are drawn.

    Returns:
        ``abstained``: how many media have no score;
        ``video``: over whole media; ``frame``: over frames, each by itself, at the same threshold; ``methods`` and
        ``compressions``: over whole media, of each method beside all that is authentic, and of each compression;
        ``clips``: see ``clips_against_frames``.
    """
    given, media = len(media), media.scored_by(part.members)
    scores = media.scores(part.members)
    return {
        "abstained": given - len(media),
        "video": _detection(media, scores, part, bootstrap),
        "frame": _frames(media, part, bootstrap),
        "methods": _strata(media, scores, part, bootstrap, "method"),
        "compressions": _strata(media, scores, part, bootstrap, "compression"),
        "clips": clips_against_frames(media, scores, part, bootstrap),
    }


def robustness(media: MediaLogits, part: Part, bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the figures over whole degraded media, at the threshold chosen on media as they are."""
    media = media.scored_by(part.members)
    return {"video": _detection(media, media.scores(part.members), part, bootstrap)}


def _detection(media: MediaLogits, scores: Scores, part: Part, bootstrap: Bootstrap) -> dict[str, Any]:
    figures = detection_metrics(media.label, scores, media.groups.codes, threshold=part.threshold, bootstrap=bootstrap)
    return with_fpr(figures)


def with_fpr(figures: dict[str, Any]) -> dict[str, Any]:
    """Add ``authentic_fpr``, the share of what is authentic that was called manipulated: 1 - its recall."""
    recall, interval = figures["recall_authentic"], figures["intervals"].get("recall_authentic")
    if recall is None:
        reason = {"authentic_fpr": figures["undefined"]["recall_authentic"]}
        return {**figures, "authentic_fpr": None, "undefined": figures["undefined"] | reason}
    turned = {"authentic_fpr": [1 - interval[1], 1 - interval[0]]} if interval else {}
    return {**figures, "authentic_fpr": 1 - recall, "intervals": figures["intervals"] | turned}


def _frames(media: MediaLogits, part: Part, bootstrap: Bootstrap) -> dict[str, Any]:
    scores, owner = media.frame_scores(part.members)
    groups = media.groups.codes[owner]
    figures = detection_metrics(media.label[owner], scores, groups, threshold=part.threshold, bootstrap=bootstrap)
    return with_fpr(figures)


def _strata(media: MediaLogits, scores: Scores, part: Part, bootstrap: Bootstrap, column: str) -> dict[str, Any]:
    values, found = media.column(column), {}
    authentic = media.label == AUTHENTIC
    names = sorted(set(values[~authentic] if column == "method" else values) - {""})
    for name in names:
        keep = (values == name) | authentic if column == "method" else values == name
        found[name] = _detection(media.select(keep), scores[keep], part, bootstrap)
    return found


def clips_against_frames(media: MediaLogits, scores: Scores, part: Part, bootstrap: Bootstrap) -> dict[str, Any] | None:
    """Say what looking at clips is worth: the AUC over media beside that of the mean over the same networks' frames.

    Args:
        media: of a test split.
        scores: of the media by clips, where there are clips.
        part: whose scores.
        bootstrap: how the interval is drawn.

    Returns:
        ``clips`` and ``frames`` (the AUCs), ``difference`` and its paired ``interval``; None where no member has clips
        or the media are of one class.
    """
    clips = any(media.has_clips(member) for member in part.members)
    if not clips or not media.has_both_classes:
        return None
    by_frames = media.scores(part.members, by_frames=True)
    found = auc_difference(media.label, by_frames, scores, media.groups, bootstrap)
    return {"clips": found["second"], "frames": found["first"], **{k: found[k] for k in ("difference", "interval")}}


def auc_difference(
    labels: NDArray[np.int64], first: Scores, second: Scores, groups: Groups, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Return two AUCs on the same media, ``second`` - ``first`` as ``difference``, and its paired ``interval``."""
    rankings = Ranking(labels, first, groups), Ranking(labels, second, groups)

    def difference(weights: Weights) -> Mapping[str, NDArray[np.float64]]:
        return {"auc": rankings[1](weights)["auc"] - rankings[0](weights)["auc"]}

    values = [_auc(labels, scores) for scores in (first, second)]
    interval = intervals(difference, groups, bootstrap).get("auc")
    return {
        "first": values[0],
        "second": values[1],
        "difference": values[1] - values[0],
        "interval": list(interval) if interval else None,
    }


def _auc(labels: NDArray[np.int64], scores: Scores) -> float:
    return float(roc_auc_score(is_manipulated(labels), scores))


def forgetting(
    groups: Sequence[ChosenGroup], media: Mapping[str, MediaLogits], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Say how each stage's ensemble does on each data set, and how far it fell behind the best stage before it.

    Args:
        groups: in the order in which they were trained.
        media: by data set; those of which a stage abstains do not count.
        bootstrap: how intervals are drawn.

    Returns:
        An entry for each stage and data set: ``group``, ``dataset``, ``auc`` over media; and from the second stage on
        ``best_earlier``, the group of highest AUC before, and ``drop``, its AUC less this one's, with a paired
        ``interval``. All None where a data set has one class.
    """
    entries = []
    for name, all_media in media.items():
        one = all_media.scored_by(*(group.ensemble.members for group in groups))
        both = one.has_both_classes
        scores = {group.name: one.scores(group.ensemble.members) for group in groups}
        aucs = {key: _auc(one.label, value) if both else None for key, value in scores.items()}
        for number, group in enumerate(groups):
            entry: dict[str, Any] = {"group": group.name, "dataset": name, "auc": aucs[group.name]}
            entry |= {"best_earlier": None, "drop": None, "interval": None}
            if both and number:
                best = max((earlier.name for earlier in groups[:number]), key=lambda key: aucs[key] or 0.0)
                found = auc_difference(one.label, scores[group.name], scores[best], one.groups, bootstrap)
                entry |= {"best_earlier": best, "drop": found["difference"], "interval": found["interval"]}
            entries.append(entry)
    return entries
