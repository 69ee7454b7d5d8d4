"""From when on an authentic train picture is a hard negative: at a given threshold, or so that enough are found."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.regions.verdict import OperatingPoint
from tasks.regions.settings import RegionsSweep

STEPS = 1024  # thresholds are chosen among 1/1024 … 1, as operating points are
LOWEST = 1 / STEPS


@dataclass(frozen=True)
class Mining:
    """What was chosen.

    Attributes:
        point: an authentic picture that it calls forged is a hard negative.
        count: how many were asked for; None where the threshold was given or is the operating point's.
        reached: pictures whose score reaches the threshold; None where scores were not needed.
        note: one sentence that says how the point came about.
    """

    point: OperatingPoint
    count: int | None
    reached: int | None
    note: str

    def to_json(self, found: int, kept: int, searched: int) -> dict[str, Any]:
        """Return what ``mining.json`` holds."""
        counts = {"asked": self.count, "found": found, "kept": kept, "searched": searched}
        return {**self.point.model_dump(mode="json"), **counts, "note": self.note}


def mining_area(settings: RegionsSweep, point: OperatingPoint) -> float:
    """Return the false-positive area from which a picture is a hard negative, a fraction of it."""
    area = settings.mining_min_area_fraction
    return point.min_area_fraction if area is None else area


def given_mining(settings: RegionsSweep, point: OperatingPoint) -> Mining:
    """Return the threshold that the settings name, or that of the operating point chosen on val."""
    threshold = settings.mining_threshold
    note = "the operating point's threshold" if threshold is None else "the threshold that the settings name"
    area = mining_area(settings, point)
    chosen = OperatingPoint(threshold=point.threshold if threshold is None else threshold, min_area_fraction=area)
    return Mining(chosen, None, None, note)


def choose_mining(scores: NDArray[np.floating[Any]], settings: RegionsSweep, point: OperatingPoint) -> Mining:
    """Choose the highest threshold that finds as many pictures as are wanted.

    Args:
        scores: of all authentic train pictures at the minimum area of ``mining_area``, 0..1 (``image_score``).
        settings: with ``mining_count``.
        point: chosen on val.

    Returns:
        The choice; where too few reach the lowest threshold that is allowed, that one, and ``note`` says how many do.
    """
    assert settings.mining_count is not None  # noqa: S101 - the caller asks only where it is
    count = ceil(settings.mining_count * len(scores)) if settings.mining_count < 1 else int(settings.mining_count)
    lowest = LOWEST if settings.mining_threshold is None else settings.mining_threshold
    threshold = lowest
    if 0 < count <= len(scores):
        hardest = np.sort(np.asarray(scores, dtype=np.float64))[-count]
        threshold = max(lowest, np.floor(hardest * STEPS) / STEPS)
    reached = int(np.count_nonzero(scores >= threshold))
    note = f"the highest threshold that finds {count:,} of {len(scores):,} authentic train pictures"
    if reached < count:
        note = (
            f"only {reached:,} of the {count:,} wanted exist: so many of {len(scores):,} authentic train pictures "
            f"reach the lowest threshold allowed, {lowest:.3g}"
        )
    chosen = OperatingPoint(threshold=float(threshold), min_area_fraction=mining_area(settings, point))
    return Mining(chosen, count, reached, note)
