"""Calibrating classifiers of faces on val, and choosing their thresholds there: for whole media.

A temperature is fitted to the logits that a verdict rests on, those of clips, or of frames for a member without clips;
every medium counts the same, however many it has. The ensemble's weights are fitted to media. Both fits are those of
``judging.calibration``. A member learns nothing from a medium of which it abstained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.faces.scores import Scores
from bundle.faces.verdict import FaceDecision
from judging.bootstrap import Bootstrap
from judging.calibration import (
    DECIMALS,
    LIKELIHOOD_FLOOR,
    CalibrationSample,
    EnsembleWeights,
    fit_temperature,
    fit_weights,
    fold_of,
)
from judging.choice import Choice
from judging.detection import detection_metrics
from judging.guard import require_val
from tasks.faces.figures import choose_threshold, require_both
from tasks.faces.media_scores import Calibration, Ensemble, MediaLogits
from tasks.faces.settings import ThresholdRule


@dataclass(frozen=True)
class MediaCalibration:
    """The members' temperatures and weights, and one sentence that says how the weights came about."""

    members: Mapping[str, Calibration]
    weights: EnsembleWeights


def calibrate_media(
    val: MediaLogits, members: Sequence[str], *, temperatures: bool = True, weights: bool = True
) -> MediaCalibration:
    """Fit temperatures, then weights.

    Args:
        val: media of the val split, of both classes.
        members: their names.
        temperatures: False leaves all at 1.
        weights: False leaves all equal.

    Raises:
        SplitLeakError: when a medium is not of the val split.
    """
    require_val(val.column("split"), "calibration")
    fitted = dict.fromkeys(members, 1.0)
    if temperatures:
        fitted = {name: fit_temperature(_units(val, name), name) for name in members}
    equal = EnsembleWeights({name: round(1 / len(members), DECIMALS) for name in members}, False, "equal, as asked for")
    found = _fit_weights(val, fitted) if weights else equal
    return MediaCalibration({name: Calibration(fitted[name], found.weights[name]) for name in members}, found)


def choose_media_threshold(
    val: MediaLogits, members: Ensemble, *, rule: ThresholdRule, max_authentic_fpr: float
) -> Choice:
    """Choose from which probability on a medium counts as manipulated.

    Args:
        val: media of the val split, of both classes; those of which the ensemble abstains do not count.
        members: the ensemble.
        rule: ``ceiling`` takes the highest balanced accuracy among thresholds whose false-positive rate is under the
            ceiling; ``balanced_accuracy`` knows no ceiling.
        max_authentic_fpr: the ceiling, 0..1.

    Returns:
        The choice; its decision is a ``FaceDecision``, and it has no curves.

    Raises:
        SplitLeakError: when a medium is not of the val split.
        BadInputError: ``empty-class`` when a class has no medium.
    """
    require_val(val.column("split"), "the threshold")
    val = val.scored_by(members)
    scores, labels = val.scores(members), val.label
    ceiling = max_authentic_fpr if rule == "ceiling" else 1.0
    chosen = choose_threshold(labels, scores, val.column("split").tolist(), max_authentic_fpr=ceiling)
    rate = f"false-positive rate {chosen.authentic_fpr:.3f} on authentic media"
    meets = chosen.authentic_fpr <= ceiling
    if rule == "balanced_accuracy":
        note = f"highest balanced accuracy on val ({chosen.balanced_accuracy:.3f}), with a {rate}"
    elif meets:
        note = f"highest balanced accuracy on val ({chosen.balanced_accuracy:.3f}) with a {rate}, ceiling {ceiling:.3f}"
    else:
        note = f"no threshold on val is under the ceiling of {ceiling:.3f}; the lowest {rate} was taken"
    decision = FaceDecision(threshold=chosen.threshold)
    return Choice(decision, meets, note, _figures(val, scores, chosen.threshold))


def keep_media_threshold(
    val: MediaLogits, members: Ensemble, decision: FaceDecision, *, max_authentic_fpr: float, note: str
) -> Choice:
    """Return a threshold that was chosen elsewhere, such as a bundle's, with its figures on val.

    Args:
        val: media of the val split, of both classes; those of which the ensemble abstains do not count.
        members: the ensemble.
        decision: the threshold.
        max_authentic_fpr: the ceiling, 0..1.
        note: where the threshold is from.

    Raises:
        SplitLeakError: when a medium is not of the val split.
        BadInputError: ``empty-class`` when a class has no medium.
    """
    require_val(val.column("split"), "the figures of a threshold")
    val = val.scored_by(members)
    require_both(val.label)
    figures = _figures(val, val.scores(members), decision.threshold)
    return Choice(decision, figures["authentic_fpr"] <= max_authentic_fpr, note, figures)


def _figures(val: MediaLogits, scores: Scores, threshold: float) -> dict[str, float]:
    figures = detection_metrics(
        val.label, scores, val.groups.codes, threshold=threshold, bootstrap=Bootstrap(resamples=0)
    )
    kept = {name: figures[name] for name in ("auc", "ap", "eer", "balanced_accuracy", "recall_forged", "ece")}
    return kept | {"authentic_fpr": float((scores[~val.manipulated] >= threshold).mean())}


def _units(val: MediaLogits, member: str) -> CalibrationSample:
    """Return the logits that a member's verdicts rest on; those of one medium weigh 1 together."""
    logits, owner = val.units(member)
    weights = 1 / np.bincount(owner)[owner] if len(owner) else np.zeros(0)
    return CalibrationSample({member: logits}, val.manipulated[owner], weights, _folds(val)[owner])


def _fit_weights(val: MediaLogits, temperatures: Mapping[str, float]) -> EnsembleWeights:
    """Fit weights to the members' scores of whole media; temperatures are in these probabilities already."""
    logits = {}
    for name, temperature in temperatures.items():
        score = val.scores({name: Calibration(temperature)}).clip(LIKELIHOOD_FLOOR, 1 - LIKELIHOOD_FLOOR)
        logits[name] = np.log(score) - np.log1p(-score)
    sample = CalibrationSample(logits, val.manipulated, np.ones(len(val)), _folds(val))
    return fit_weights(sample, dict.fromkeys(temperatures, 1.0))


def _folds(val: MediaLogits) -> NDArray[np.int8]:
    return np.array([fold_of(group) for group in val.column("group_id").tolist()], dtype=np.int8)
