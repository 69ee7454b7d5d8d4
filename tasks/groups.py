"""The groups that are evaluated side by side: models of earlier stages, which are fitted on val, and whole bundles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from bundle.document import BundleMember
from core.errors import SettingsError
from core.settings import Settings
from judging.calibration import EnsembleWeights
from tasks.exported import ExportedNetwork
from tasks.task import BUNDLE, CURRENT, ENSEMBLE, EvaluationRequest, ExportedBundle


class GroupMember(Protocol):
    """What a task's member has, whatever else: a name, and its part in an ensemble. It is a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """Unique among the members of a pass."""

    @property
    def weight(self) -> float:
        """Its share in the ensemble, relative to the others'."""

    @property
    def temperature(self) -> float:
        """Logits are divided by it."""


M = TypeVar("M", bound=GroupMember)


@dataclass(frozen=True)
class Group(Generic[M]):
    """Models that are one ensemble: a stage, or a bundle.

    Attributes:
        name: such as ``v4``.
        members: by their own names; as members of a pass they are called ``<group>/<name>``.
        decisions: of a bundle, its own: of ``ENSEMBLE`` and of each member by name; empty where they are to be chosen.
        weights_note: how the weights came about.
    """

    name: str
    members: Mapping[str, M]
    decisions: Mapping[str, Settings] = field(default_factory=dict)
    weights_note: str = ""

    @property
    def ensemble(self) -> str:
        """The name of the group's ensemble in a pass; a single member is its own ensemble."""
        return f"{self.name}/{ENSEMBLE}" if len(self.members) > 1 else self.keys[0]

    @property
    def keys(self) -> list[str]:
        """The names of the members in a pass."""
        return [member.name for member in self.members.values()]

    @property
    def all_keys(self) -> dict[str, str]:
        """The names in a pass of the members by their own, and of the ensemble, called ``ENSEMBLE``."""
        return {name: member.name for name, member in self.members.items()} | {ENSEMBLE: self.ensemble}

    def fitted(self, temperatures: Mapping[str, float], weights: EnsembleWeights) -> "Group[M]":
        """Return the group with the temperatures and weights that were fitted, by the members' names in a pass."""
        members = {
            name: replace(member, temperature=temperatures[member.name], weight=weights.weights[member.name])
            for name, member in self.members.items()
        }
        return replace(self, members=members, weights_note=weights.note)


def make_group(name: str, members: Sequence[M]) -> Group[M]:
    """Return members under the names that they have in a pass.

    Raises:
        SettingsError: when two have one name.
    """
    found: dict[str, M] = {}
    for member in members:
        if member.name in found:
            raise SettingsError(f"group {name} has two models called {member.name}; give each once")
        found[member.name] = replace(member, name=f"{name}/{member.name}")
    return Group(name, found)


def load_groups(
    request: EvaluationRequest, load: Callable[[Path], M], exported: Callable[[BundleMember, ExportedNetwork], M]
) -> list[Group[M]]:
    """Return all groups of an evaluation: what is released at present, the stages in order, and last the bundle.

    Groups without any model are left out.

    Args:
        request: gives models and bundles.
        load: reads a trained model.
        exported: makes a member of a bundle's.

    Raises:
        SettingsError: when there is nothing to evaluate, two of a group have one name, or a group of trained models is
            called as bundles are.
        BadInputError, MismatchError: when a model cannot be read or does not fit.
    """
    for name in (BUNDLE, CURRENT):
        if name in request.models:
            raise SettingsError(f"no group of models may be called {name}, which stands for a bundle; rename the stage")
    trained = [make_group(name, [load(path) for path in paths]) for name, paths in request.models.items() if paths]
    bundles = {name: _of_bundle(name, one, exported) for name, one in request.bundles.items()}
    last = [bundles.pop(BUNDLE)] if BUNDLE in bundles else []
    groups = [*bundles.values(), *trained, *last]
    if not groups:
        raise SettingsError("no model to evaluate")
    return groups


def _of_bundle(name: str, judged: ExportedBundle, exported: Callable[[BundleMember, ExportedNetwork], M]) -> Group[M]:
    document = judged.bundle.document
    members = [exported(one, ExportedNetwork(one, judged.networks[one.name])) for one in document.members]
    decisions = {ENSEMBLE: document.decision} | {one.name: one.decision for one in document.members}
    return replace(make_group(name, members), decisions=decisions, weights_note="the bundle's own")
