"""The groups of models that are judged side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from components.evaluate.recipe import EvaluateRecipe, MemberSettings
from components.judging.members import load_member
from components.judging.predict import ENSEMBLE, Member
from media.errors import SettingsError
from media.index import SampleIndex


@dataclass(frozen=True)
class Group:
    """Models judged together, such as a generation.

    Attributes:
        name: such as ``v4``.
        members: by their own names; as members of a pass they are called ``<group>/<name>``.
    """

    name: str
    members: Mapping[str, Member]

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


def ensembles(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Return the members of each ensemble, as ``judge_index`` takes them."""
    return {group.ensemble: group.keys for group in groups if len(group.members) > 1}


def load_groups(
    models: Mapping[str, Sequence[Path]],
    recipe: EvaluateRecipe,
    device: torch.device,
    indexes: Sequence[SampleIndex],
) -> list[Group]:
    """Load all models; groups without any are left out.

    Args:
        models: model folders or checkpoints by group.
        recipe: gives weights and temperatures.
        device: where to put the networks.
        indexes: data sets that the models must fit.

    Raises:
        SettingsError: when there is no model at all, two of a group have one name, the recipe names a member that is
            not there, or all weights of a group are 0.
        BadInputError, MismatchError: when a model cannot be read or does not fit.
    """
    groups = []
    for name, paths in models.items():
        members: dict[str, Member] = {}
        for path in paths:
            member = load_member(path, device, indexes=indexes)
            if member.name in members:
                raise SettingsError(f"group {name} has two models called {member.name}; give each once")
            members[member.name] = member
        if members:
            groups.append(Group(name, _with_settings(name, members, recipe.members.get(name, {}))))
    absent = sorted(set(recipe.members) - {group.name for group in groups})
    if not groups or absent:
        raise SettingsError(f"members.{absent[0]}: there is no such group" if absent else "no model to evaluate")
    return groups


def _with_settings(
    group: str, members: Mapping[str, Member], settings: Mapping[str, MemberSettings]
) -> dict[str, Member]:
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
