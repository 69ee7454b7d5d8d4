"""What the members of an ensemble read of face crops: views that members share are cut once.

A member abstains from a track of which one of its views is missing in all frames: none of the track's crops
is among what it reads. Where only some frames lack the view, they are read with its presence mask False.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bundle.analyzers import Item
from bundle.document import BundleMember
from bundle.faces.scores import abstains, shown_views
from media.faces import FaceCrop
from media.view import StoredSample, network_item


@dataclass(frozen=True)
class Readings:
    """What members read of the crops of a medium.

    Attributes:
        items: by member the arrays of each crop it reads, in the order of the crops; members that read none are
            missing.
        rows: by member the number of each crop's item, by the crop's position.
    """

    items: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    rows: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def rows_of(self, member: str, positions: Sequence[int]) -> list[int]:
        """Return the numbers of a member's items for one track's crops; none where it abstains from the track."""
        own = self.rows.get(member, {})
        return [own[position] for position in positions if position in own]


def read_crops(members: Sequence[BundleMember], crops: Sequence[FaceCrop]) -> Readings:
    """Cut what every member reads.

    Args:
        members: of the bundle.
        crops: of all faces in a medium.
    """
    views = dict.fromkeys(view for member in members for view in member.input.views.values())
    cuts = {view: [view.cut(crop.sample) for crop in crops] for view in views}
    items: dict[str, list[Item]] = {}
    rows_of: dict[str, dict[int, int]] = {}
    tracks = positions_by_track(crops)
    for member in members:
        own = [{name: cuts[view][row] for name, view in member.input.views.items()} for row in range(len(crops))]
        speaks = {
            number: not abstains(member.input.views, shown_views(own[row] for row in rows))
            for number, rows in tracks.items()
        }
        kept = [row for row, crop in enumerate(crops) if speaks[crop.track]]
        if kept:
            items[member.name] = [network_item(member.input.views, own[row]) for row in kept]
            rows_of[member.name] = {position: row for row, position in enumerate(kept)}
    return Readings(items, rows_of)


def positions_by_track(crops: Sequence[FaceCrop]) -> dict[int, list[int]]:
    """Return the positions among the crops of those of each track, in the order of time."""
    positions: dict[int, list[int]] = {}
    for position, crop in enumerate(crops):
        positions.setdefault(crop.track, []).append(position)
    return positions


def heatmap_of(member: BundleMember, heat: NDArray[np.float32], sample: StoredSample) -> NDArray[np.float32]:
    """Return a member's heatmap [h, w] at the size of the crop that it is of, [H, W].

    Where a member reads several views, the map is of ``InputSpec.mapped``.
    """
    return member.input.views[member.input.mapped].lay(heat, sample)
