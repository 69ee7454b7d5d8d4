"""The groups of classifiers that are evaluated side by side, and what is chosen for them on val."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.faces.verdict import FaceDecision
from data.index import SampleIndex
from judging.choice import Choice
from models.checkpoint import LoadedNetwork
from tasks.faces.calibration import calibrate_media, choose_media_threshold
from tasks.faces.loading import load_member
from tasks.faces.media_scores import Calibration, Ensemble, MediaLogits
from tasks.faces.prediction import FaceMember
from tasks.faces.settings import FacesEvaluate
from tasks.groups import Group, load_groups
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
        weights_note: how the weights came about.
    """

    name: str
    keys: Mapping[str, str]
    parts: Mapping[str, Part]
    weights_note: str

    @property
    def ensemble(self) -> Part:
        """All members together."""
        return self.parts[ENSEMBLE]

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """The members' calibrations by their names in a pass."""
        return self.ensemble.members


class FaceGroups:
    """Loaded groups."""

    def __init__(self, groups: Sequence[Group[FaceMember]], last: Mapping[str, LoadedNetwork]) -> None:
        self._groups = groups
        self.last = last  # the last group's networks by their members' own names
        self.members = [member for group in groups for member in group.members.values()]

    @classmethod
    def load(
        cls, models: Mapping[str, Sequence[Path]], settings: FacesEvaluate, indexes: Sequence[SampleIndex]
    ) -> "FaceGroups":
        """Load all models; the arguments and errors are those of ``load_groups``, ``indexes`` what they must fit."""
        device, networks = settings.judging.torch_device(), {}

        def load(path: Path) -> FaceMember:
            member, networks[path] = load_member(path, device, indexes=indexes)
            return member

        groups = load_groups(models, settings, load)
        last = (networks[path] for path in models[groups[-1].name])
        return cls(groups, {loaded.member: loaded for loaded in last})

    def choose(self, val: MediaLogits, settings: FacesEvaluate) -> list[ChosenGroup]:
        """Fit temperatures and weights and choose thresholds on media of val.

        A group whose members the settings name keeps the temperatures and weights that they give.
        """
        return [_choose(group, val, settings) for group in self._groups]


def _choose(group: Group[FaceMember], val: MediaLogits, settings: FacesEvaluate) -> ChosenGroup:
    if group.name in settings.members:
        calibrations = {
            member.name: Calibration(member.temperature, member.weight) for member in group.members.values()
        }
        note = "as the recipe says"
    else:
        fitted = calibrate_media(val, group.keys, temperatures=settings.calibrate, weights=settings.fit_weights)
        calibrations, note = dict(fitted.members), fitted.weights.note
    keys = {name: member.name for name, member in group.members.items()}
    together = {ENSEMBLE: calibrations} | {name: {key: calibrations[key]} for name, key in keys.items()}
    parts = {
        name: Part(
            members,
            choose_media_threshold(val, members, rule=settings.threshold, max_authentic_fpr=settings.max_authentic_fpr),
        )
        for name, members in together.items()
    }
    return ChosenGroup(group.name, keys, parts, note)
