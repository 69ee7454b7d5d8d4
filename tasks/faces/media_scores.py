"""Media and the logits that classifiers of faces gave them: from a pass over faces to scores of frames and media.

The arithmetic is that of ``bundle.faces.scores``, which the server shares. A member that abstained of a track has no
part in its score, and the weights of the others count alone; a medium of which all abstained has no score.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bundle.faces.scores import Scores, medium_probability, probability, track_probability, weighted
from data.labels import is_manipulated
from tasks.faces.prediction import MediumPrediction

COLUMNS = ("media_id", "group_id", "dataset", "method", "compression", "split")


@dataclass(frozen=True)
class TrackLogits:
    """Logits of one face, before any temperature; without the members that abstained.

    Attributes:
        samples: sample ids of its n frames in their order.
        frames: float64 [n] by member.
        clips: float64 [k] by member with clips.
    """

    samples: tuple[str, ...]
    frames: Mapping[str, Scores]
    clips: Mapping[str, Scores]


@dataclass(frozen=True)
class Calibration:
    """A member's part in an ensemble: its temperature, and its weight before normalisation."""

    temperature: float = 1.0
    weight: float = 1.0


Ensemble = Mapping[str, Calibration]  # by member; a single member is its own


@dataclass(frozen=True)
class MediumLogits:
    """One medium: its columns of the index by name, its label (0 is authentic), and its tracks."""

    columns: Mapping[str, str]
    label: int
    tracks: tuple[TrackLogits, ...]

    def has_clips(self, member: str) -> bool:
        """Whether a member was asked about clips."""
        return any(member in track.clips for track in self.tracks)

    def units(self, member: str) -> Scores:
        """Return the logits that a member's verdict rests on: of its clips, or of its frames where it has none."""
        parts = [track.clips.get(member, track.frames[member]) for track in self.tracks if member in track.frames]
        return np.concatenate([*parts, np.zeros(0)])

    def score(self, members: Ensemble, *, by_frames: bool = False) -> float:
        """Return the probability of the medium; NaN where all members abstained."""
        scores = [_track_score(track, members, by_frames) for track in self.tracks]
        known = [score for score in scores if score is not None]
        return medium_probability(known) if known else float("nan")


@dataclass(frozen=True)
class MediaLogits:
    """The media of one pass, in its order."""

    media: tuple[MediumLogits, ...]

    def __len__(self) -> int:
        return len(self.media)

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """Labels of the classes, 0 is authentic, [N]."""
        return np.array([medium.label for medium in self.media], dtype=np.int64)

    @property
    def manipulated(self) -> NDArray[np.bool_]:
        """Which media are, [N]."""
        return is_manipulated(self.label)

    @property
    def has_both_classes(self) -> bool:
        """Whether there are authentic media and manipulated ones."""
        return bool(self.manipulated.any() and not self.manipulated.all())

    def column(self, name: str) -> NDArray[np.str_]:
        """Return a column of the index, a value a medium, [N]."""
        return np.array([medium.columns[name] for medium in self.media], dtype=np.str_)

    def select(self, keep: NDArray[np.bool_]) -> "MediaLogits":
        """Return the media that a mask [N] picks."""
        return MediaLogits(tuple(medium for medium, kept in zip(self.media, keep, strict=True) if kept))

    def scored_by(self, *ensembles: Ensemble) -> "MediaLogits":
        """Return the media of which no ensemble abstained as a whole."""
        known = [
            all(any(_speaking(track, one) for track in medium.tracks) for one in ensembles) for medium in self.media
        ]
        return self if all(known) else self.select(np.array(known, dtype=np.bool_))

    def scores(self, members: Ensemble, *, by_frames: bool = False) -> Scores:
        """Return the probability of each medium, float64 [N]; NaN where all members abstained.

        Args:
            members: the ensemble.
            by_frames: take the mean of the frames alone, whatever clips there are.
        """
        return np.array([medium.score(members, by_frames=by_frames) for medium in self.media], dtype=np.float64)

    def frame_scores(self, members: Ensemble) -> tuple[Scores, NDArray[np.int64]]:
        """Return the ensemble's probability of each frame that has one, and the number of the frame's medium.

        Returns:
            float64 [F] and int64 [F].
        """
        scores, owners = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
        for number, medium in enumerate(self.media):
            for track in medium.tracks:
                found = frame_probabilities(track, members)
                if found is not None:
                    scores.append(found)
                    owners.append(np.full(len(found), number, dtype=np.int64))
        return np.concatenate(scores), np.concatenate(owners)


def collect_media(predictions: Iterable[MediumPrediction]) -> MediaLogits:
    """Keep of a pass what figures need: a few numbers a frame."""
    return MediaLogits(tuple(_kept(medium) for medium in predictions))


def _kept(medium: MediumPrediction) -> MediumLogits:
    tracks = tuple(
        TrackLogits(tuple(str(row["sample_id"]) for row in track.rows), track.frame_logits, track.clip_logits)
        for track in medium.tracks
    )
    return MediumLogits({name: str(medium.row[name]) for name in COLUMNS}, int(medium.row["label"]), tracks)


def frame_probabilities(track: TrackLogits, members: Ensemble) -> Scores | None:
    """Return the ensemble's probability of each frame of a track, float64 [n]; None where all abstained."""
    speaking = _speaking(track, members)
    if not speaking:
        return None
    scores = {name: probability(track.frames[name], one.temperature) for name, one in speaking.items()}
    return weighted(scores, _weights(speaking))


def _track_score(track: TrackLogits, members: Ensemble, by_frames: bool) -> float | None:
    speaking = _speaking(track, members)
    if not speaking:
        return None
    scores: dict[str, Scores | float] = {}
    for name, one in speaking.items():
        clips = None if by_frames else track.clips.get(name)
        calibrated = None if clips is None else probability(clips, one.temperature)
        scores[name] = track_probability(probability(track.frames[name], one.temperature), calibrated)
    return float(weighted(scores, _weights(speaking)))


def _speaking(track: TrackLogits, members: Ensemble) -> dict[str, Calibration]:
    """Return the members that have a say on a track: those that did not abstain."""
    return {name: one for name, one in members.items() if name in track.frames}


def _weights(members: Ensemble) -> dict[str, float]:
    return {name: one.weight for name, one in members.items()}
