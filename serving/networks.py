"""A bundle's networks, opened and run once, in the form in which the batcher runs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bundle import BundleMember, Run, VerifiedBundle, open_runtime
from bundle.runtimes import RunClips, open_faces
from serving.batcher import Arrays, Network
from serving.settings import ServerSettings


@dataclass(frozen=True)
class Networks:
    """What a bundle runs, by member.

    Attributes:
        frames: what the batcher runs, from uint8 [B, C, S, S] to outputs by name.
        clips: what runs on vectors of frames afterwards; members without one are missing.
    """

    frames: Mapping[str, Network]
    clips: Mapping[str, RunClips] = field(default_factory=dict)


def open_networks(bundle: VerifiedBundle, settings: ServerSettings, threads: int, max_batch: int) -> Networks:
    """Open all networks of a bundle, and warm them up.

    Args:
        bundle: verified.
        settings: runtime and device.
        threads: of a forward pass on the CPU.
        max_batch: most tiles in one forward pass.

    Raises:
        SettingsError: as ``bundle.open_runtime``.
        MismatchError: likewise.
    """
    runtime, device = settings.runtime, settings.device
    if bundle.document.task == "segmentation":
        runs = open_runtime(bundle, runtime, device=device, threads=threads)
        networks = Networks({name: _named(run) for name, run in runs.items()})
    else:
        faces = open_faces(bundle, runtime, device=device, threads=threads)
        clips = {name: run.clip for name, run in faces.items() if run.clip is not None}
        networks = Networks({name: run.frames for name, run in faces.items()}, clips)
    for member in bundle.document.members:
        _warm_up(member, networks, max_batch)
    return networks


def _named(run: Run) -> Network:
    def network(pixels: NDArray[np.uint8]) -> Arrays:
        return {"logits": run(pixels)}

    return network


def _warm_up(member: BundleMember, networks: Networks, max_batch: int) -> None:
    """Run a member on a single tile and on a full batch, twice: TorchScript optimises in its second run."""
    size = member.input.size
    for tiles in sorted({1, max_batch}):
        pixels = np.zeros((tiles, member.input.channels, size, size), dtype=np.uint8)
        for _ in range(2):
            networks.frames[member.name](pixels)
    if member.name in networks.clips:
        vectors = np.zeros((1, member.input.frames, member.vector_width or 0), dtype=np.float32)
        for _ in range(2):
            networks.clips[member.name](vectors, np.array([member.input.frames], dtype=np.int64))
