"""Loading classifiers of faces."""

from collections.abc import Sequence
from pathlib import Path

import torch

from bundle.document import CLIP, BundleMember
from data.index import SampleIndex
from judging.members import load_for
from models.checkpoint import LoadedNetwork
from tasks.exported import ExportedNetwork
from tasks.faces.prediction import FaceMember

TASK_NAME = "faces"


def load_member(
    model: Path, device: torch.device | str, *, indexes: Sequence[SampleIndex] = ()
) -> tuple[FaceMember, LoadedNetwork]:
    """Load a model as a member called by its variant's name, and return what its checkpoint says besides.

    Arguments and errors are those of ``load_for``.
    """
    loaded = load_for(TASK_NAME, model, device, indexes=indexes)
    return FaceMember(loaded.member, loaded.network, loaded.spec.input, loaded.family.clips), loaded


def exported_member(member: BundleMember, network: ExportedNetwork) -> FaceMember:
    """Return a bundle's member, with the temperature and weight that the bundle gives it."""
    clips = CLIP in member.networks
    return FaceMember(member.name, network, member.input, clips, member.temperature, member.weight, normalise=False)
