"""The parity gate: does an exported network say what the eager one says, on real input, at every batch size?"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle import Format
from components.export.recipe import ParitySettings
from core.errors import VeriframeError

HEATMAP = "heatmap"

# How many inputs to take, to float32 arrays by the name of the output.
Say = Callable[[int], Mapping[str, NDArray[np.float32]]]


class ParityError(VeriframeError):
    """An exported network does not follow the eager one; no bundle is written."""


@dataclass(frozen=True)
class Parity:
    """One comparison.

    Attributes:
        member: whose network.
        output: of which output: ``logits``, ``heatmap``, or ``clip``, the logits of clips.
        format: of the exported network.
        batch_size: tiles, faces or clips in one call.
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


def threshold_logit(threshold: float, temperature: float) -> float:
    """Return the logit at which ``sigmoid(logit / temperature)`` reaches ``threshold``."""
    if threshold in (0.0, 1.0):
        return math.copysign(math.inf, threshold - 0.5)
    return temperature * math.log(threshold / (1.0 - threshold))


def compare(
    member: str, eager: Say, exported: Mapping[Format, Say], settings: ParitySettings, cut: float
) -> list[Parity]:
    """Ask the eager and every exported network about the same input.

    Args:
        member: its name.
        eager: what the trained network says of the first so many of the inputs, by output.
        exported: the same by format.
        settings: batch sizes.
        cut: logit of the member's threshold.

    Returns:
        One comparison for each output, format and batch size.

    Raises:
        ParityError: when an exported network gives arrays of other shapes.
    """
    results = []
    for batch_size in settings.batch_sizes:
        expected = eager(batch_size)
        for kind, say in exported.items():
            actual = say(batch_size)
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


def require_parity(results: list[Parity], settings: ParitySettings) -> None:
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
