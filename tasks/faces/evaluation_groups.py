"""What is decided on val for classifiers of faces that are one ensemble, in an export and in an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass

from bundle.faces.verdict import FaceDecision
from core.settings import Settings
from judging.calibration import EnsembleWeights
from judging.choice import Choice
from tasks.faces.calibration import calibrate_media, choose_media_threshold, keep_media_threshold
from tasks.faces.media_scores import Calibration, Ensemble, MediaLogits
from tasks.faces.prediction import FaceMember
from tasks.faces.settings import FacesFit
from tasks.groups import Group
from tasks.task import ENSEMBLE


@dataclass(frozen=True)
class Part:
    """An ensemble, or a member by itself.

    Attributes:
        members: calibrations by the members' names in a pass.
        choice: the threshold chosen on val.
    """

    members: Ensemble
    choice: Choice

    @property
    def threshold(self) -> float:
        """From which probability on a medium counts as manipulated."""
        decision = self.choice.decision
        if not isinstance(decision, FaceDecision):
            raise TypeError(f"a threshold was to be chosen, not a {type(decision).__name__}")
        return decision.threshold


@dataclass(frozen=True)
class ChosenGroup:
    """A group with all that val decides.

    Attributes:
        name: such as a stage's.
        keys: the members' names in a pass by their own.
        parts: the ensemble, called ``ensemble``, and each member by its own name.
        weights: by the members' names in a pass, and how they came about.
    """

    name: str
    keys: Mapping[str, str]
    parts: Mapping[str, Part]
    weights: EnsembleWeights

    @property
    def ensemble(self) -> Part:
        """All members together."""
        return self.parts[ENSEMBLE]

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """The members' calibrations by their names in a pass."""
        return self.ensemble.members


def choose_group(group: Group[FaceMember], val: MediaLogits, settings: FacesFit) -> ChosenGroup:
    """Fit temperatures and weights and choose thresholds on media of val; a bundle keeps its own.

    Raises:
        SplitLeakError: when a medium is not of the val split.
        BadInputError: ``empty-class`` when val lacks authentic or manipulated media.
    """
    keys = {name: member.name for name, member in group.members.items()}
    if group.decisions:
        members = group.members.values()
        calibrations = {member.name: Calibration(member.temperature, member.weight) for member in members}
        weights = EnsembleWeights({one.name: one.weight for one in members}, False, group.weights_note)
    else:
        fitted = calibrate_media(val, group.keys, temperatures=settings.calibrate, weights=settings.fit_weights)
        calibrations, weights = dict(fitted.members), fitted.weights
    together = {ENSEMBLE: calibrations} | {name: {key: calibrations[key]} for name, key in keys.items()}
    parts = {
        name: Part(members, _threshold(val, members, group.decisions.get(name), settings))
        for name, members in together.items()
    }
    return ChosenGroup(group.name, keys, parts, weights)


def _threshold(val: MediaLogits, members: Ensemble, decision: Settings | None, settings: FacesFit) -> Choice:
    ceiling = settings.max_authentic_fpr
    if decision is None:
        return choose_media_threshold(val, members, rule=settings.threshold, max_authentic_fpr=ceiling)
    assert isinstance(decision, FaceDecision)  # noqa: S101 - the bundle's document checks it
    return keep_media_threshold(val, members, decision, max_authentic_fpr=ceiling, note="the bundle's own")
