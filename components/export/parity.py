"""The parity gate: does an exported network follow the eager one, on real input, at every batch size?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import HEATMAP, Format
from bundle.runtimes import Networks
from core.errors import VeriframeError
from tasks.settings import ParitySettings
from tasks.task import Probe


class ParityError(VeriframeError):
    """An exported network does not follow the eager one; no bundle is written."""


@dataclass(frozen=True)
class Parity:
    """One comparison.

    Attributes:
        member: whose network.
        output: of which of the probe's outputs, such as ``logits``, ``heatmap``, or ``clip``, the logits of clips.
        format: of the exported network.
        batch_size: items in one call.
        difference: largest absolute difference of a value; NaN when either side is not finite.
        flipped_share: share of logits on the other side of the threshold, 0..1; 0 for a heatmap, which has none.
    """

    member: str
    output: str
    format: Format
    batch_size: int
    difference: float
    flipped_share: float

    def failures(self, settings: ParitySettings) -> list[str]:
        """Return what is out of tolerance, in words; NaN is."""
        wrong = []
        heatmap = self.output == HEATMAP
        limit = settings.max_heatmap_difference if heatmap else settings.max_logit_difference
        if not self.difference <= limit:
            what = "heatmap" if heatmap else "logit"
            wrong.append(f"largest {what} difference {self.difference:.3g} > {limit:g}")
        if not self.flipped_share <= settings.max_flipped_share:
            wrong.append(f"share of flipped logits {self.flipped_share:.3g} > {settings.max_flipped_share:g}")
        return wrong


def compare(
    member: str,
    probe: Probe,
    eager: Networks,
    exported: Mapping[Format, Networks],
    settings: ParitySettings,
    temperature: float,
) -> list[Parity]:
    """Ask the eager and every exported form of a member's networks about the same input.

    Args:
        member: its name.
        probe: asks them.
        eager: the trained networks.
        exported: the same by format.
        settings: batch sizes.
        temperature: of the member.

    Returns:
        One comparison for each output, format and batch size.

    Raises:
        ParityError: when an exported network gives arrays of other shapes.
    """
    cut = probe.cut * temperature
    results = []
    for batch_size in settings.batch_sizes:
        expected = probe(eager, batch_size)
        for kind, networks in exported.items():
            actual = probe(networks, batch_size)
            for output, values in expected.items():
                found = actual[output]
                if found.shape != values.shape:
                    raise ParityError(
                        f"{member} as {kind} gives {output} {found.shape} for a batch of {batch_size}, not "
                        f"{values.shape}"
                    )
                flipped = 0.0 if output == HEATMAP else float(((values >= cut) != (found >= cut)).mean())
                results.append(Parity(member, output, kind, batch_size, _difference(values, found), flipped))
    return results


def _difference(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    finite = np.isfinite(expected).all() and np.isfinite(actual).all()
    return float(np.abs(expected - actual).max()) if finite else math.nan


def require_parity(results: Sequence[Parity], settings: ParitySettings) -> None:
    """Check every comparison.

    Raises:
        ParityError: naming member, output, format, batch size and figure of each that is out of tolerance.
    """
    wrong = [
        f"  {result.member} as {result.format}, {result.output}, batch {result.batch_size}: {failure}"
        for result in results
        for failure in result.failures(settings)
    ]
    if wrong:
        raise ParityError(
            "the exported networks differ from the trained ones; nothing was written\n" + "\n".join(wrong)
        )
