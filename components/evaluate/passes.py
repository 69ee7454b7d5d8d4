"""The passes of an evaluation: val to choose, test to measure, test again under each degradation."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bundle.regions.verdict import judge
from components.evaluate.groups import Group, ensembles
from components.evaluate.recipe import EvaluateRecipe
from data.index import SampleIndex
from data.shards import ShardReader
from judging.collect import Rejections, TopPictures, collect_statistics, judge_with
from judging.operating_point import Choice, choose_operating_point
from judging.overlays import encode_jpeg, heat_overlay, side_by_side, truth_overlay
from judging.predict import Judged, Member
from judging.report import Figure
from judging.statistics import PixelStatistics, f1_score
from media.degrade import degradation

SIDE = 260  # px, longest side of one picture in the gallery

Statistics = dict[str, PixelStatistics]


class Passes:
    """Runs every group over a split; all groups see a picture while it is in memory, so it is read once a pass."""

    def __init__(self, groups: Sequence[Group[Member]], recipe: EvaluateRecipe) -> None:
        self._groups = groups
        self._recipe = recipe
        self._members = [member for group in groups for member in group.members.values()]
        self._keys = [key for group in groups for key in group.all_keys]
        self.rejections = Rejections()

    def choose(self, val: SampleIndex, reader: ShardReader) -> tuple[Statistics, dict[str, Choice]]:
        """Return the statistics on val and the operating point of every member and ensemble."""
        statistics = self._collect(val, reader, "val", self._keys)
        choices = {
            key: choose_operating_point(
                one, max_authentic_fpr=self._recipe.max_authentic_fpr, min_areas=self._recipe.min_areas
            )
            for key, one in statistics.items()
        }
        return statistics, choices

    def measure(
        self, test: SampleIndex, reader: ShardReader, choices: Mapping[str, Choice]
    ) -> tuple[Statistics, "Gallery"]:
        """Return the statistics on test of every member and ensemble, and the pictures to show."""
        gallery = Gallery(self._groups, choices, self._recipe.gallery)
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
        gallery: "Gallery | None" = None,
        degraded: str | None = None,
    ) -> Statistics:
        judged = judge_with(
            self._recipe.judging,
            self._members,
            index,
            reader,
            label=label,
            unreadable=self.rejections,
            degrade=degradation(degraded) if degraded else None,
            ensembles=ensembles(self._groups),
        )
        return collect_statistics(judged, keys, self._recipe.min_areas, gallery)


class Gallery:
    """The best and the worst of the forged pictures and the worst false alarms, by the last group's ensemble."""

    def __init__(self, groups: Sequence[Group[Member]], choices: Mapping[str, Choice], count: int) -> None:
        self._points = {group.name: (group.ensemble, choices[group.ensemble].point) for group in groups}
        self.best, self.worst, self.false_alarms = (TopPictures(count) for _ in range(3))

    def __call__(self, picture: Judged) -> None:
        """Look at one picture."""
        masks = {}
        for name, (key, point) in self._points.items():
            verdict = judge(picture.probabilities[key], point)
            masks[name] = verdict.mask
        last = masks[next(reversed(masks))]
        tie = str(picture.row["sample_id"])
        draw = partial(self._draw, picture, masks)
        if picture.mask.any():
            f1 = _f1(last, picture.mask)
            self.best.offer(f1, tie, draw)
            self.worst.offer(-f1, tie, draw)
        elif picture.row["label"] == 0 and last.any():
            self.false_alarms.offer(float(last.mean()), tie, draw)

    def _draw(self, picture: Judged, masks: Mapping[str, NDArray[np.bool_]]) -> Figure:
        drawn = [truth_overlay(picture.rgb, picture.mask, max_side=SIDE)]
        figures = []
        for name, (key, point) in self._points.items():
            drawn.append(heat_overlay(picture.rgb, picture.probabilities[key], point, picture.mask, max_side=SIDE))
            shown = (
                f"F1 {_f1(masks[name], picture.mask):.2f}"
                if picture.mask.any()
                else f"{100 * masks[name].mean():.1f} % marked"
            )
            figures.append(f"{name} {shown}")
        caption = f"{picture.row['media_id']} · {' · '.join(figures)}"
        return Figure(encode_jpeg(side_by_side(drawn)), caption, "image/jpeg")


def _f1(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    counts = (np.array(mask.sum(dtype=np.int64)) for mask in (found & truth, found & ~truth, ~found & truth))
    return float(f1_score(*counts))
