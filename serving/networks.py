"""A bundle's networks, opened and run once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import CLIP, ExportedNetwork
from bundle.reading import VerifiedBundle
from bundle.runtimes import Run, open_networks
from media.tensors import TensorSpec
from serving.batcher import Lane, NetworkName
from serving.settings import ServerSettings


def open_lanes(bundle: VerifiedBundle, settings: ServerSettings, passes: int, threads: int) -> dict[NetworkName, Lane]:
    """Open all networks of a bundle, and warm them up.

    Args:
        bundle: verified.
        settings: runtime, device, precision, and how large batches may be.
        passes: forward passes that run at one time.
        threads: of each of them on the CPU.

    Raises:
        SettingsError: as ``bundle.runtimes.open_networks``.
        MismatchError: likewise.
    """
    opened = _open(bundle, settings, threads)
    # torch has one number of threads for all.
    wide = _open(bundle, settings, passes * threads) if passes > 1 and settings.runtime == "onnx" else None
    # On a processor each tile of a larger batch takes as long, or longer: together they do not fit its caches.
    max_batch = settings.max_batch or (1 if settings.device == "cpu" else 8)
    lanes = {}
    for member in bundle.document.members:
        for name in member.networks:
            run, key = opened[member.name][name], NetworkName(member.name, name)
            if name == CLIP:  # small, of many small operations: it gains nothing from threads, and waits for no others
                lanes[key] = Lane(run, settings.max_clips)
            else:
                alone = None if wide is None else wide[member.name][name]
                lanes[key] = Lane(run, max_batch, settings.batch_delay_ms / 1000, alone)
    for member in bundle.document.members:
        for name, network in member.networks.items():
            _warm_up(lanes[NetworkName(member.name, name)], network)
    return lanes


def _open(bundle: VerifiedBundle, settings: ServerSettings, threads: int) -> dict[str, dict[str, Run]]:
    return open_networks(
        bundle, settings.runtime, device=settings.device, threads=threads, precision=settings.precision
    )


def _warm_up(lane: Lane, network: ExportedNetwork) -> None:
    """Run a network on a single item and on a full batch, twice: TorchScript optimises in its second run."""
    runs = [lane.run] if lane.alone is None else [lane.run, lane.alone]
    for batch in sorted({1, lane.max_batch}):
        inputs = {given: _example(spec, batch) for given, spec in network.inputs.items()}
        for run in runs * 2:
            run(inputs)


def _example(spec: TensorSpec, batch: int) -> NDArray[Any]:
    """Return zeros, but ones where they are counts: none of nothing, of which a network need not make sense."""
    example = spec.example(batch)
    return example + 1 if example.dtype == np.int64 else example
