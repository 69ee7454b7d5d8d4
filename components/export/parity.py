"""The parity gate: does an exported network say what the eager one says, on real input, at every batch size?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.export.recipe import ParitySettings
from media.bundle import Format, Run
from media.errors import VeriframeError


class ParityError(VeriframeError):
    """An exported network does not follow the eager one; no bundle is written."""


@dataclass(frozen=True)
class Parity:
    """One comparison.

    Attributes:
        member: whose network.
        format: of the exported network.
        batch_size: tiles in one call.
        logit_difference: largest absolute difference of a logit; NaN when either side is not finite.
        flipped_share: share of pixels on the other side of the threshold, 0..1.
    """

    member: str
    format: Format
    batch_size: int
    logit_difference: float
    flipped_share: float

    def failures(self, settings: ParitySettings) -> list[str]:
        """Return what is out of tolerance, in words; NaN is."""
        wrong = []
        if not self.logit_difference <= settings.max_logit_difference:
            wrong.append(f"largest logit difference {self.logit_difference:.3g} > {settings.max_logit_difference:g}")
        if not self.flipped_share <= settings.max_flipped_share:
            wrong.append(f"share of flipped pixels {self.flipped_share:.3g} > {settings.max_flipped_share:g}")
        return wrong


def threshold_logit(threshold: float, temperature: float) -> float:
    """Return the logit at which ``sigmoid(logit / temperature)`` reaches ``threshold``."""
    if threshold in (0.0, 1.0):
        return math.copysign(math.inf, threshold - 0.5)
    return temperature * math.log(threshold / (1.0 - threshold))


def compare(
    member: str,
    eager: Run,
    exported: Mapping[Format, Run],
    pixels: NDArray[np.uint8],
    settings: ParitySettings,
    cut: float,
) -> list[Parity]:
    """Run the eager and every exported network on the same tiles.

    Args:
        member: its name.
        eager: uint8 [B, C, S, S] to logits float32 [B, 1, S, S].
        exported: the same by format.
        pixels: real tiles uint8 [N, C, S, S], N at least the largest batch size.
        settings: batch sizes.
        cut: logit of the member's threshold.

    Returns:
        One comparison for each format and batch size.
    """
    results = []
    for batch_size in settings.batch_sizes:
        batch = pixels[:batch_size]
        expected = eager(batch)
        for kind, run in exported.items():
            actual = run(batch)
            if actual.shape != expected.shape:
                raise ParityError(
                    f"{member} as {kind} gives {actual.shape} for a batch of {batch_size}, not {expected.shape}"
                )
            finite = bool(np.isfinite(expected).all() and np.isfinite(actual).all())
            difference = float(np.abs(expected - actual).max()) if finite else math.nan
            flipped = float(((expected >= cut) != (actual >= cut)).mean())
            results.append(Parity(member, kind, batch_size, difference, flipped))
    return results


def require_parity(results: list[Parity], settings: ParitySettings) -> None:
    """Check every comparison.

    Raises:
        ParityError: naming member, format, batch size and figure of each that is out of tolerance.
    """
    wrong = [
        f"  {result.member} as {result.format}, batch {result.batch_size}: {failure}"
        for result in results
        for failure in result.failures(settings)
    ]
    if wrong:
        raise ParityError(
            "the exported networks differ from the trained ones; nothing was written\n" + "\n".join(wrong)
        )
