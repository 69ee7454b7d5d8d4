"""The passes of an evaluation: val to choose, test to measure, test again under each degradation."""

from collections.abc import Mapping, Sequence

from data.index import SampleIndex
from data.shards import ShardReader
from judging.choice import Choice
from judging.collect import Rejections
from media.degrade import degradation
from tasks.groups import Group
from tasks.regions.evaluation_gallery import Gallery
from tasks.regions.operating_point import choose_operating_point
from tasks.regions.prediction import Member, predict_pictures
from tasks.regions.settings import RegionsEvaluate
from tasks.regions.statistics import PixelStatistics, collect_statistics

Statistics = dict[str, PixelStatistics]


class Passes:
    """Runs every group over a split; all groups see a picture while it is in memory, so it is read once a pass."""

    def __init__(self, groups: Sequence[Group[Member]], settings: RegionsEvaluate) -> None:
        self._groups = groups
        self._settings = settings
        self._members = [member for group in groups for member in group.members.values()]
        self._keys = [key for group in groups for key in group.all_keys]
        self.rejections = Rejections()

    def choose(self, val: SampleIndex, reader: ShardReader) -> tuple[Statistics, dict[str, Choice]]:
        """Return the statistics on val and the operating point of every member and ensemble."""
        statistics = self._collect(val, reader, "val", self._keys)
        choices = {
            key: choose_operating_point(
                one, max_authentic_fpr=self._settings.max_authentic_fpr, min_areas=self._settings.min_areas
            )
            for key, one in statistics.items()
        }
        return statistics, choices

    def measure(
        self, test: SampleIndex, reader: ShardReader, choices: Mapping[str, Choice]
    ) -> tuple[Statistics, Gallery]:
        """Return the statistics on test of every member and ensemble, and the pictures to show."""
        gallery = Gallery(self._groups, choices, self._settings.gallery)
        return self._collect(test, reader, "test", self._keys, gallery), gallery

    def degrade(self, test: SampleIndex, reader: ShardReader, name: str) -> Statistics:
        """Return the statistics on degraded test pictures of every group's ensemble."""
        return self._collect(test, reader, name, [group.ensemble for group in self._groups], None, name)

    def _collect(
        self,
        index: SampleIndex,
        reader: ShardReader,
        label: str,
        keys: Sequence[str],
        gallery: Gallery | None = None,
        degraded: str | None = None,
    ) -> Statistics:
        predictions = predict_pictures(
            self._members,
            index,
            reader,
            **self._settings.judging.running(),
            progress=label,
            unreadable=self.rejections,
            degrade=degradation(degraded) if degraded else None,
            ensembles={group.ensemble: group.keys for group in self._groups if len(group.members) > 1},
        )
        return collect_statistics(predictions, keys, self._settings.min_areas, gallery)
