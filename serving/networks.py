"""A bundle's networks, opened and run once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle import runtimes
from bundle.document import BundleMember
from bundle.reading import VerifiedBundle
from bundle.runtimes import Networks
from media.tensors import TensorSpec
from serving.settings import ServerSettings


def open_networks(
    bundle: VerifiedBundle, settings: ServerSettings, threads: int, max_batch: int
) -> dict[str, Networks]:
    """Open all networks of a bundle, and warm them up.

    Args:
        bundle: verified.
        settings: runtime and device.
        threads: of a forward pass on the CPU.
        max_batch: most items in one forward pass.

    Returns:
        By member its networks by name.

    Raises:
        SettingsError: as ``bundle.runtimes.open_networks``.
        MismatchError: likewise.
    """
    opened = runtimes.open_networks(bundle, settings.runtime, device=settings.device, threads=threads)
    for member in bundle.document.members:
        _warm_up(member, opened[member.name], max_batch)
    return dict(opened)


def _warm_up(member: BundleMember, networks: Networks, max_batch: int) -> None:
    """Run each network on a single item and on a full batch, twice: TorchScript optimises in its second run."""
    for name, network in member.networks.items():
        for batch in sorted({1, max_batch}):
            inputs = {given: _example(spec, batch) for given, spec in network.inputs.items()}
            for _ in range(2):
                networks[name](inputs)


def _example(spec: TensorSpec, batch: int) -> NDArray[Any]:
    """Return zeros, but ones where they are counts: none of nothing, of which a network need not make sense."""
    example = spec.example(batch)
    return example + 1 if example.dtype == np.int64 else example
