"""The groups of models that are evaluated side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from core.errors import SettingsError
from tasks.settings import EvaluateSettings, MemberSettings
from tasks.task import ENSEMBLE


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
    """Models evaluated together, such as a stage.

    Attributes:
        name: such as ``v4``.
        members: by their own names; as members of a pass they are called ``<group>/<name>``.
    """

    name: str
    members: Mapping[str, M]

    @property
    def ensemble(self) -> str:
        """The name of the group's ensemble in a pass; a single member is its own ensemble."""
        return f"{self.name}/{ENSEMBLE}" if len(self.members) > 1 else self.keys[0]

    @property
    def keys(self) -> list[str]:
        """The names of the members in a pass."""
        return [member.name for member in self.members.values()]

    @property
    def all_keys(self) -> list[str]:
        """The names of the members and of the ensemble in a pass, each once."""
        return list(dict.fromkeys([*self.keys, self.ensemble]))


def load_groups(
    models: Mapping[str, Sequence[Path]], settings: EvaluateSettings, load: Callable[[Path], M]
) -> list[Group[M]]:
    """Load all models; groups without any are left out.

    Args:
        models: model folders or checkpoints by group.
        settings: give weights and temperatures.
        load: reads one.

    Raises:
        SettingsError: when there is no model at all, two of a group have one name, the settings name a member that is
            not there, or all weights of a group are 0.
        BadInputError, MismatchError: when a model cannot be read or does not fit.
    """
    groups = []
    for name, paths in models.items():
        members: dict[str, M] = {}
        for path in paths:
            member = load(path)
            if member.name in members:
                raise SettingsError(f"group {name} has two models called {member.name}; give each once")
            members[member.name] = member
        if members:
            groups.append(Group(name, _with_settings(name, members, settings.members.get(name, {}))))
    absent = sorted(set(settings.members) - {group.name for group in groups})
    if not groups or absent:
        raise SettingsError(f"members.{absent[0]}: there is no such group" if absent else "no model to evaluate")
    return groups


def _with_settings(group: str, members: Mapping[str, M], settings: Mapping[str, MemberSettings]) -> dict[str, M]:
    unknown = sorted(set(settings) - set(members))
    if unknown:
        raise SettingsError(f"members.{group}.{unknown[0]}: no such model in the group; it has {', '.join(members)}")
    found = {}
    for name, member in members.items():
        own = settings.get(name, MemberSettings())
        found[name] = replace(member, name=f"{group}/{name}", weight=own.weight, temperature=own.temperature)
    if not any(member.weight for member in found.values()):
        raise SettingsError(f"members.{group}: all weights are 0; give at least one member a share")
    return found
