"""The pictures that an evaluation of networks which mark regions shows."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bundle.regions.verdict import decide
from data.labels import AUTHENTIC
from judging.choice import Choice
from judging.collect import TopPictures
from judging.overlays import encode_jpeg, heat_overlay, side_by_side, truth_overlay
from judging.report import Figure
from tasks.groups import Group
from tasks.regions.operating_point import point_of
from tasks.regions.prediction import Member, Prediction
from tasks.regions.statistics import f1_score

SIDE = 260  # px, longest side of one picture in the gallery


class Gallery:
    """The best and the worst of the forged pictures and the worst false alarms, by the last group's ensemble."""

    def __init__(self, groups: Sequence[Group[Member]], choices: Mapping[str, Choice], count: int) -> None:
        self._points = {group.name: (group.ensemble, point_of(choices[group.ensemble])) for group in groups}
        self.best, self.worst, self.false_alarms = (TopPictures(count) for _ in range(3))

    def __call__(self, picture: Prediction) -> None:
        """Look at one picture."""
        masks = {name: decide(picture.probabilities[key], point).mask for name, (key, point) in self._points.items()}
        last = masks[next(reversed(masks))]
        tie = str(picture.row["sample_id"])
        draw = partial(self._draw, picture, masks)
        if picture.mask.any():
            f1 = _f1(last, picture.mask)
            self.best.offer(f1, tie, draw)
            self.worst.offer(-f1, tie, draw)
        elif picture.row["label"] == AUTHENTIC and last.any():
            self.false_alarms.offer(float(last.mean()), tie, draw)

    def _draw(self, picture: Prediction, masks: Mapping[str, NDArray[np.bool_]]) -> Figure:
        drawn = [truth_overlay(picture.rgb, picture.mask, max_side=SIDE)]
        figures = []
        for name, (key, _) in self._points.items():
            heat = picture.probabilities[key]
            drawn.append(heat_overlay(picture.rgb, heat, masks[name], picture.mask, max_side=SIDE))
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
