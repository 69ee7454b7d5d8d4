"""What exported networks that mark regions are compared on: tiles of val."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import MODEL
from bundle.regions.analysis import tiles_view
from bundle.regions.verdict import OperatingPoint
from bundle.runtimes import Networks
from core.settings import Settings
from data.stored import load_sample
from media.view import stack
from tasks.probing import spread, threshold_logit
from tasks.task import ExportJob


@dataclass(frozen=True)
class TileProbe:
    """Asks networks about tiles.

    Attributes:
        cut: calibrated logit from which on a pixel counts as forged.
        arrays: the tiles as networks read them, by view [N, ...].
    """

    cut: float
    arrays: Mapping[str, NDArray[Any]]

    def __call__(self, networks: Networks, count: int) -> dict[str, NDArray[np.float32]]:
        """Return ``logits`` [count, 1, S, S] of the first tiles."""
        outputs = networks[MODEL]({name: array[:count] for name, array in self.arrays.items()})
        return {"logits": outputs["logits"]}


def probe(job: ExportJob, member: str, decision: Settings, count: int) -> TileProbe:
    """Return a probe of ``count`` tiles, of pictures spread evenly over val.

    Args:
        job: what is exported.
        member: whose networks it is for.
        decision: of the member, an ``OperatingPoint``.
        count: how many tiles.
    """
    assert isinstance(decision, OperatingPoint)  # noqa: S101 - what ``fit`` chose
    spec = job.networks[member].spec.input
    view = tiles_view(spec)
    samples = []
    for number, row in enumerate(job.val.table.take(spread(len(job.val), count)).to_pylist()):
        tiles, _ = view.tiles(load_sample(row, job.reader).rgb)
        samples.append({view.name: tiles[number % len(tiles)]})
    return TileProbe(threshold_logit(decision.threshold), stack(spec.views, samples))
