"""The passes of an evaluation over test: to measure, and again under each degradation."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data.index import SampleIndex
from data.shards import ShardReader
from judging.collect import Rejections
from media.degrade import degradation
from tasks.regions.evaluation_gallery import Gallery
from tasks.regions.fitting import FittedGroups, Statistics, ensembles_of, kept_areas, members_of
from tasks.regions.prediction import Prediction, predict_pictures
from tasks.regions.settings import RegionsEvaluate
from tasks.regions.statistics import collect_statistics


@dataclass(frozen=True)
class Measured:
    """One data set: statistics by the names of members and ensembles in a pass, and the pictures to show."""

    statistics: Statistics
    gallery: Gallery


class Passes:
    """Runs every group over a split; all groups see a picture while it is in memory, so it is read once a pass."""

    def __init__(
        self, fitted: FittedGroups, settings: RegionsEvaluate, cache: Path | None, rejections: Rejections
    ) -> None:
        self._fitted = fitted
        self._settings = settings
        self._cache = cache
        self._rejections = rejections

    def measure(self, test: SampleIndex, name: str) -> Measured:
        """Measure every member and ensemble on the data set of a name."""
        groups = self._fitted.groups
        gallery = Gallery(groups, self._fitted.choices, self._settings.gallery)
        keys = [key for group in groups for key in group.all_keys.values()]
        return Measured(self._collect(test, name, keys, gallery), gallery)

    def degrade(self, test: SampleIndex, name: str) -> Statistics:
        """Return the statistics on degraded test pictures of every group's ensemble."""
        return self._collect(test, name, [group.ensemble for group in self._fitted.groups], None, name)

    def _collect(
        self,
        index: SampleIndex,
        label: str,
        keys: Iterable[str],
        look: Callable[[Prediction], None] | None,
        degraded: str | None = None,
    ) -> Statistics:
        groups = self._fitted.groups
        predictions = predict_pictures(
            members_of(groups),
            index,
            ShardReader(index.shards, self._cache),
            **self._settings.inference.running(),
            progress=label,
            unreadable=self._rejections,
            degrade=degradation(degraded) if degraded else None,
            ensembles=ensembles_of(groups),
        )
        return collect_statistics(predictions, list(dict.fromkeys(keys)), kept_areas(groups, self._settings), look)
