"""Media and the logits that classifiers of faces gave them: from a pass over faces to scores of frames and media.

The arithmetic is that of ``bundle.faces.scores``, which the server shares, for all media at once. A member that
abstained of a track has no part in its score, and the weights of the others count alone; a medium of which all
abstained has no score.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bundle.faces.scores import Scores, probability, weighted
from data.labels import is_manipulated
from judging.bootstrap import Groups
from judging.ratios import ratio
from judging.tables import MappedTable, TableCollector, join_tables, load_table, save_table
from tasks.faces.prediction import MediumPrediction

COLUMNS = ("media_id", "group_id", "dataset", "method", "compression", "split")
FRAMES, CLIPS = "frames:", "clips:"  # before a member's name: the columns of its logits

_BY_TRACK = pa.list_(pa.list_(pa.float64()))
_SCHEMA = (
    *(pa.field(name, pa.string(), nullable=False) for name in COLUMNS),
    pa.field("label", pa.int64(), nullable=False),  # of the classes, 0 authentic
    pa.field("samples", pa.list_(pa.list_(pa.string())), nullable=False),  # sample ids of each track's frames
)

Owners = NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """A member's part in an ensemble: its temperature, and its weight before normalisation."""

    temperature: float = 1.0
    weight: float = 1.0


Ensemble = Mapping[str, Calibration]  # by member; a single member is its own


@dataclass(frozen=True)
class Logits:
    """What one member said, before any temperature, track by track.

    Attributes:
        values: of all its frames or of all its clips, float64 [U].
        lengths: how many of them each track has, int64 [T]; 0 where the member abstained or has no clips.
        spoken: the tracks that it judged, bool [T].
    """

    values: Scores
    lengths: Owners
    spoken: NDArray[np.bool_]

    @property
    def tracks(self) -> Owners:
        """The number of the track of each value, [U]."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def means(self, temperature: float) -> Scores:
        """Return the mean probability of each track, float64 [T]; NaN where it has no value."""
        total = np.bincount(self.tracks, weights=probability(self.values, temperature), minlength=len(self.lengths))
        return np.asarray(ratio(total, self.lengths))


@dataclass(frozen=True)
class MediaLogits:
    """The M media of one pass, in its order, with their T tracks and F frames.

    Attributes:
        mapped: a row a medium: ``COLUMNS``, ``label``, ``samples``, and for each member ``frames:<member>`` and
            ``clips:<member>``, lists of the logits of each track; null for a track of which the member abstained or has
            no clips.
    """

    mapped: MappedTable
    _logits: dict[str, Logits] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def table(self) -> pa.Table:
        """The rows."""
        return self.mapped.table

    @classmethod
    def concatenate(cls, parts: Sequence["MediaLogits"]) -> "MediaLogits":
        """Return the media of several parts of a pass (see ``data.parts``), one part after the other.

        Raises:
            MismatchError: when the parts are of different members.
        """
        return cls(join_tables([part.mapped for part in parts]))

    @classmethod
    def load(cls, path: Path) -> "MediaLogits":
        """Map the file that ``save`` wrote; it must stay as it is.

        Raises:
            BadInputError: ``not-statistics`` when it cannot be read.
        """
        return cls(load_table(path, [one.name for one in _SCHEMA]))

    def save(self, path: Path) -> None:
        """Write all to a file.

        Raises:
            StorageError: when it cannot be written.
        """
        save_table(path, self.table)

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """Labels of the classes, 0 is authentic, [M]."""
        return np.asarray(self.table.column("label").to_numpy(), dtype=np.int64)

    @property
    def manipulated(self) -> NDArray[np.bool_]:
        """Which media are, [M]."""
        return is_manipulated(self.label)

    @property
    def has_both_classes(self) -> bool:
        """Whether there are authentic media and manipulated ones."""
        return bool(self.manipulated.any() and not self.manipulated.all())

    @cached_property
    def groups(self) -> Groups:
        """The groups of the media, the unit of resampling."""
        return Groups.of(self.column("group_id"))

    @cached_property
    def faces(self) -> Owners:
        """How many tracks each medium has, [M]."""
        return _lengths(self.table.column("samples"))

    @cached_property
    def frames(self) -> Owners:
        """How many frames each medium has, [M]."""
        return np.bincount(self._medium_of_track, weights=self._frames_of_track, minlength=len(self)).astype(np.int64)

    @cached_property
    def _medium_of_track(self) -> Owners:
        return np.repeat(np.arange(len(self)), self.faces)

    @cached_property
    def _frames_of_track(self) -> Owners:
        return _lengths(pc.list_flatten(self.table.column("samples")))

    def column(self, name: str) -> NDArray[np.str_]:
        """Return one of ``COLUMNS``, a value a medium, [M]."""
        return np.asarray(self.table.column(name).to_numpy(), dtype=np.str_)

    def select(self, keep: NDArray[Any]) -> "MediaLogits":
        """Return the media that a mask [M] or an array of their numbers picks."""
        rows = np.flatnonzero(keep) if keep.dtype == np.bool_ else keep
        return MediaLogits(MappedTable(self.table.take(pa.array(rows, pa.int64()))))

    def has_clips(self, member: str) -> bool:
        """Whether a member was asked about clips."""
        return len(self._of(CLIPS + member).values) > 0

    def frame_logits(self, member: str) -> tuple[Scores, Owners]:
        """Return the logits of all frames that a member judged, and the number of the medium of each."""
        return self._owned(FRAMES + member)

    def clip_logits(self, member: str) -> tuple[Scores, Owners]:
        """Return the logits of all clips that a member judged, and the number of the medium of each."""
        return self._owned(CLIPS + member)

    def units(self, member: str) -> tuple[Scores, Owners]:
        """Return the logits that a member's verdicts rest on: of each track its clips, or its frames where it has none.

        Returns:
            float64 [U], medium by medium, and the number of the medium of each.
        """
        frames, clips = self._of(FRAMES + member), self._of(CLIPS + member)
        alone = clips.lengths[frames.tracks] == 0
        values = np.concatenate([clips.values, frames.values[alone]])
        tracks = np.concatenate([clips.tracks, frames.tracks[alone]])
        order = np.argsort(tracks, kind="stable")
        return values[order], self._medium_of_track[tracks[order]]

    def scored_by(self, *ensembles: Ensemble) -> "MediaLogits":
        """Return the media of which no ensemble abstained as a whole."""
        known = np.ones(len(self), dtype=np.bool_)
        for members in ensembles:
            speaking = np.any([self._of(FRAMES + name).spoken for name in members], axis=0)
            known &= np.bincount(self._medium_of_track[speaking], minlength=len(self)) > 0
        return self if known.all() else self.select(known)

    def scores(self, members: Ensemble, *, by_frames: bool = False) -> Scores:
        """Return the probability of each medium, float64 [M]; NaN where all members abstained.

        Args:
            members: the ensemble.
            by_frames: take the mean of the frames alone, whatever clips there are.
        """
        tracks = {}
        for name, one in members.items():
            found = self._of(FRAMES + name).means(one.temperature)
            if not by_frames:
                clips = self._of(CLIPS + name)
                found = np.where(clips.lengths > 0, clips.means(one.temperature), found)
            tracks[name] = found
        spoken = {name: self._of(FRAMES + name).spoken for name in members}
        combined, known = _weighted(tracks, spoken, members)
        worst = np.full(len(self), -np.inf)
        np.maximum.at(worst, self._medium_of_track[known], combined[known])
        worst[np.isneginf(worst)] = np.nan
        return worst

    def frame_scores(self, members: Ensemble) -> tuple[Scores, Owners]:
        """Return the ensemble's probability of each frame that has one, and the number of the frame's medium.

        Returns:
            float64 [F] and int64 [F].
        """
        scores, known = self._frame_scores(members)
        return scores[known], np.repeat(self._medium_of_track, self._frames_of_track)[known]

    def tracks(self, members: Ensemble) -> Iterator[tuple[list[str], Scores]]:
        """Yield the sample ids of each track's frames and the ensemble's probabilities of them, float64 [n].

        Tracks of which all members abstained are left out; of few media, as they become Python objects.
        """
        scores, known = self._frame_scores(members)
        start = 0
        for samples in pc.list_flatten(self.table.column("samples")).to_pylist():
            rows = slice(start, start + len(samples))
            if known[rows].any():
                yield samples, scores[rows]
            start = rows.stop

    def _frame_scores(self, members: Ensemble) -> tuple[Scores, NDArray[np.bool_]]:
        """Return the probability of every frame [F], and which of them have one."""
        frames, spoken = {}, {}
        for name, one in members.items():
            logits = self._of(FRAMES + name)
            spoken[name] = np.repeat(logits.spoken, self._frames_of_track)
            frames[name] = np.full(len(spoken[name]), np.nan)
            frames[name][spoken[name]] = probability(logits.values, one.temperature)
        return _weighted(frames, spoken, members)

    def _owned(self, column: str) -> tuple[Scores, Owners]:
        logits = self._of(column)
        return logits.values, self._medium_of_track[logits.tracks]

    def _of(self, column: str) -> Logits:
        if column not in self._logits:
            tracks = pc.list_flatten(self.table.column(column))
            values = np.asarray(pc.list_flatten(tracks).to_numpy(), dtype=np.float64)
            self._logits[column] = Logits(values, _lengths(tracks), np.asarray(tracks.is_valid().to_numpy(), np.bool_))
        return self._logits[column]


def collect_media(predictions: Iterable[MediumPrediction], members: Sequence[str]) -> MediaLogits:
    """Keep of a pass what figures need: a few numbers a frame.

    Args:
        predictions: from ``predict_media``.
        members: names of all who took part.
    """
    columns = [pa.field(prefix + name, _BY_TRACK, nullable=False) for name in members for prefix in (FRAMES, CLIPS)]
    collector = TableCollector(pa.schema([*_SCHEMA, *columns]))
    for medium in predictions:
        row: dict[str, Any] = {name: str(medium.row[name]) for name in COLUMNS}
        row["label"] = int(medium.row["label"])
        row["samples"] = [[str(row["sample_id"]) for row in track.rows] for track in medium.tracks]
        for name in members:
            row[FRAMES + name] = [track.frame_logits.get(name) for track in medium.tracks]
            row[CLIPS + name] = [track.clip_logits.get(name) for track in medium.tracks]
        collector.add(row)
    return MediaLogits(collector.build())


def _lengths(lists: Any) -> Owners:
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy(), dtype=np.int64)


def _weighted(
    values: Mapping[str, Scores], spoken: Mapping[str, NDArray[np.bool_]], members: Ensemble
) -> tuple[Scores, NDArray[np.bool_]]:
    """Return the weighted mean of the members that have a say on each item, and on which items any has.

    Args:
        values: by member [N].
        spoken: where each has a say, by member [N].
        members: give the weights.

    Returns:
        float64 [N], NaN where no member has a say, and bool [N].
    """
    weights = {name: one.weight for name, one in members.items()}
    pattern = np.sum([spoken[name].astype(np.int64) << bit for bit, name in enumerate(members)], axis=0)
    found = np.full(len(pattern), np.nan)
    for one in np.unique(pattern[pattern > 0]):
        rows = pattern == one
        speaking = [name for bit, name in enumerate(members) if one >> bit & 1]
        found[rows] = weighted({name: values[name][rows] for name in speaking}, weights)
    return found, pattern > 0
