"""What the clip networks of an ensemble read: the clips of all tracks, cut from the vectors of their frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bundle.analyzers import Item, Outputs
from bundle.document import CLIP, Bundle
from bundle.faces.analysis import clip_inputs, track_windows
from bundle.faces.readings import Readings, positions_by_track
from media.faces import FaceCrop


@dataclass(frozen=True)
class Clips:
    """What members read of the clips of a medium.

    Attributes:
        items: by member with a clip network the arrays of each clip, track by track; members that read none are
            missing.
        of_track: by member, by track the places of its clips among the items.
    """

    items: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    of_track: Mapping[str, Mapping[int, slice]] = field(default_factory=dict)


def cut_clips(document: Bundle, readings: Readings, crops: Sequence[FaceCrop], outputs: Mapping[str, Outputs]) -> Clips:
    """Cut the clips of every member that judges clips.

    Args:
        document: the bundle.
        readings: which crops each member read.
        crops: of all faces in a medium, of each in the order of time.
        outputs: by member those of its network ``model`` for the crops it read, ``vectors`` among them.
    """
    items: dict[str, list[Item]] = {}
    of_track: dict[str, dict[int, slice]] = {}
    for member in document.members:
        if CLIP not in member.networks or member.name not in outputs:
            continue
        own, places = items.setdefault(member.name, []), of_track.setdefault(member.name, {})
        for number, positions in positions_by_track(crops).items():
            rows = readings.rows_of(member.name, positions)
            if rows:
                parts = track_windows([crops[position] for position in positions], document, member)
                vectors, lengths = clip_inputs(outputs[member.name]["vectors"][rows], parts, member.input.frames)
                places[number] = slice(len(own), len(own) + len(parts))
                own += [{"vectors": one, "lengths": length} for one, length in zip(vectors, lengths, strict=True)]
    return Clips(items, of_track)
