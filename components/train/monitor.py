"""Which epoch is the best, and whether to stop: functions of the validation metrics so far."""

import math
from collections.abc import Mapping

from components.train.recipe import EarlyStoppingSettings, MonitorSettings
from core.errors import SettingsError

FPR = "authentic_fpr"


class Monitor:
    """Follows the validation metrics epoch by epoch; feeding it the same metrics again gives the same state."""

    def __init__(self, settings: MonitorSettings, stopping: EarlyStoppingSettings | None) -> None:
        self._settings = settings
        self._stopping = stopping
        self._best: tuple[bool, float] | None = None
        self._reference: tuple[bool, float] | None = None
        self._waiting = 0

    def metric(self, metrics: Mapping[str, float]) -> float:
        """Return the monitored metric.

        Raises:
            SettingsError: when validation does not give it.
        """
        name = self._settings.metric
        if name not in metrics:
            raise SettingsError(f"monitor.metric = {name!r}: validation gives {', '.join(sorted(metrics))}")
        return metrics[name]

    def update(self, metrics: Mapping[str, float]) -> bool:
        """Take in an epoch's metrics; return whether it is the best so far."""
        rank = self._rank(metrics)
        if self._reference is None or self._exceeds(rank, self._reference):
            self._reference, self._waiting = rank, 0
        else:
            self._waiting += 1
        if self._best is None or rank > self._best:
            self._best = rank
            return True
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self._stopping is not None and self._waiting >= self._stopping.patience

    def _rank(self, metrics: Mapping[str, float]) -> tuple[bool, float]:
        """Return (keeps under the ceiling, how good); tuples compare as the epochs do."""
        value = self.metric(metrics)
        good = value if self._settings.mode == "max" else -value
        ceiling = self._settings.max_authentic_fpr
        keeps = ceiling is None or metrics.get(FPR, 0.0) <= ceiling
        if not keeps:
            good = -metrics[FPR]
        return keeps, -math.inf if math.isnan(good) else good

    def _exceeds(self, rank: tuple[bool, float], reference: tuple[bool, float]) -> bool:
        delta = self._stopping.min_delta if self._stopping else 0.0
        return rank[0] > reference[0] or (rank[0] == reference[0] and rank[1] > reference[1] + delta)
