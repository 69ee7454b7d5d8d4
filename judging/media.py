"""Media and the logits that classifiers of faces gave them: from a pass over crops to scores of frames and media.

The arithmetic is that of ``bundle.faces.scores``, which the server shares.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bundle.faces.scores import Scores, medium_probability, probability, track_probability, weighted
from judging.faces import JudgedMedium

COLUMNS = ("media_id", "group_id", "dataset", "method", "compression", "split")


@dataclass(frozen=True)
class TrackLogits:
    """Logits of one face, before any temperature.

    Attributes:
        samples: sample ids of its n frames in the order of time.
        frames: float64 [n] by member.
        clips: float64 [k] by member with clips.
    """

    samples: tuple[str, ...]
    frames: Mapping[str, Scores]
    clips: Mapping[str, Scores]


@dataclass(frozen=True)
class MediumLogits:
    """One medium: its columns of the index by name, its label (0 authentic, 1 manipulated), and its tracks."""

    columns: Mapping[str, str]
    label: int
    tracks: tuple[TrackLogits, ...]

    def has_clips(self, member: str) -> bool:
        """Whether a member judged clips."""
        return any(member in track.clips for track in self.tracks)

    def units(self, member: str) -> Scores:
        """Return the logits that a member's verdict rests on: of its clips, or of its frames where it has none."""
        parts = [track.clips.get(member, track.frames[member]) for track in self.tracks]
        return np.concatenate(parts)


@dataclass(frozen=True)
class Calibration:
    """A member's part in an ensemble: its temperature, and its weight before normalisation."""

    temperature: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class MediaLogits:
    """The media of one pass, in its order."""

    media: tuple[MediumLogits, ...]

    def __len__(self) -> int:
        return len(self.media)

    @cached_property
    def label(self) -> NDArray[np.int8]:
        """0 authentic, 1 manipulated, [N]."""
        return np.array([medium.label for medium in self.media], dtype=np.int8)

    def column(self, name: str) -> NDArray[np.str_]:
        """Return a column of the index, a value a medium, [N]."""
        return np.array([medium.columns[name] for medium in self.media], dtype=np.str_)

    def select(self, keep: NDArray[np.bool_]) -> "MediaLogits":
        """Return the media that a mask [N] picks."""
        return MediaLogits(tuple(medium for medium, kept in zip(self.media, keep, strict=True) if kept))

    def scores(self, members: Mapping[str, Calibration], *, by_frames: bool = False) -> Scores:
        """Return the probability of each medium, float64 [N].

        Args:
            members: the ensemble; a single member is its own.
            by_frames: judge by the mean of the frames alone, whatever clips there are.
        """
        return np.array([_medium_score(medium, members, by_frames) for medium in self.media], dtype=np.float64)

    def frame_scores(self, members: Mapping[str, Calibration]) -> tuple[Scores, NDArray[np.int64]]:
        """Return the ensemble's probability of each frame, float64 [F], and the number of its medium, int64 [F]."""
        scores = [frame_probabilities(track, members) for medium in self.media for track in medium.tracks]
        owner = [
            number
            for number, medium in enumerate(self.media)
            for track in medium.tracks
            for _ in range(len(track.samples))
        ]
        return np.concatenate([*scores, np.zeros(0)]), np.array(owner, dtype=np.int64)


def collect_media(judged: Iterable[JudgedMedium]) -> MediaLogits:
    """Keep of a pass what figures need: a few numbers a frame."""
    return MediaLogits(tuple(_kept(medium) for medium in judged))


def _kept(medium: JudgedMedium) -> MediumLogits:
    tracks = tuple(
        TrackLogits(tuple(str(row["sample_id"]) for row in track.rows), track.frame_logits, track.clip_logits)
        for track in medium.tracks
    )
    return MediumLogits({name: str(medium.row[name]) for name in COLUMNS}, int(medium.row["label"]), tracks)


def frame_probabilities(track: TrackLogits, members: Mapping[str, Calibration]) -> Scores:
    """Return the ensemble's probability of each frame of a track, float64 [n]."""
    scores = {name: probability(track.frames[name], one.temperature) for name, one in members.items()}
    return weighted(scores, _weights(members))


def _medium_score(medium: MediumLogits, members: Mapping[str, Calibration], by_frames: bool) -> float:
    return medium_probability([_track_score(track, members, by_frames) for track in medium.tracks])


def _track_score(track: TrackLogits, members: Mapping[str, Calibration], by_frames: bool) -> float:
    scores: dict[str, Scores | float] = {}
    for name, one in members.items():
        clips = None if by_frames else track.clips.get(name)
        calibrated = None if clips is None else probability(clips, one.temperature)
        scores[name] = track_probability(probability(track.frames[name], one.temperature), calibrated)
    return float(weighted(scores, _weights(members)))


def _weights(members: Mapping[str, Calibration]) -> dict[str, float]:
    return {name: one.weight for name, one in members.items()}
