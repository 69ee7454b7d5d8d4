"""Loading networks that mark regions."""

from collections.abc import Sequence
from pathlib import Path

import torch

from bundle.document import BundleMember
from data.index import SampleIndex
from judging.members import load_for
from tasks.exported import ExportedNetwork
from tasks.regions.prediction import Member

TASK_NAME = "regions"


def load_member(model: Path, device: torch.device | str, *, indexes: Sequence[SampleIndex] = ()) -> Member:
    """Load a model as a member called by its variant's name; arguments and errors are those of ``load_for``."""
    loaded = load_for(TASK_NAME, model, device, indexes=indexes)
    return Member(loaded.member, loaded.network, loaded.spec.input)


def exported_member(member: BundleMember, network: ExportedNetwork) -> Member:
    """Return a bundle's member, with the temperature and weight that the bundle gives it."""
    return Member(member.name, network, member.input, member.temperature, member.weight, normalise=False)
