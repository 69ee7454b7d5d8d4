"""Judging a medium by the faces found in it: the arithmetic that export, tests and the server share.

A server runs the networks its own way, in batches across requests; it takes ``clip_inputs``, ``judge_tracks`` and
``ensemble_heatmap`` from here, and ``judge_faces`` is the direct way through the same functions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from bundle.document import Bundle, BundleMember
from bundle.faces.scores import Scores, clip_slices, medium_probability, probability, track_probability, weighted
from bundle.runtimes import FaceRun
from media.inputs import face_view

Outcome = Literal["judged", "no_face", "too_short"]


class Crop(Protocol):
    """What is needed of a face crop: whose it is and its pixels, uint8 [H, W, 3]."""

    @property
    def track(self) -> int:
        """Number of the face that the crop is of."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The pixels."""


class Found(Protocol):
    """What is needed of the faces found in a medium: their crops, of each track in the order of time."""

    @property
    def crops(self) -> Sequence[Crop]:
        """The crops."""


@dataclass(frozen=True)
class MemberScores:
    """What one member's networks say of one track.

    Attributes:
        frames: logits of its n frames by themselves, float [n], in the order of time.
        clips: logits of its clips, float [k], as ``clip_slices`` cuts them; None for a member without clips.
    """

    frames: NDArray[np.floating]
    clips: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class TrackVerdict:
    """The ensemble's and the members' probabilities of one face.

    Attributes:
        track: its number.
        probability: of the ensemble, 0..1.
        frames: of the ensemble for each frame by itself, float64 [n], 0..1.
        members: of each member, by name.
    """

    track: int
    probability: float
    frames: Scores
    members: Mapping[str, float]


@dataclass(frozen=True)
class FaceOpinion:
    """What one member says by itself: its probability, and ``manipulated`` at the member's own threshold."""

    name: str
    probability: float
    manipulated: bool


@dataclass(frozen=True)
class FaceVerdict:
    """What is said of a medium.

    Attributes:
        outcome: ``judged``; ``no_face`` where no face was found; ``too_short`` where every face found was seen in
            fewer frames than asked for.
        verdict: None unless judged.
        probability: of the most suspicious track, 0..1; ``manipulated`` from ``threshold`` on; None unless judged.
        threshold: of the bundle.
        tracks: those that were judged, by number.
        members: in the bundle's order; empty unless judged.
    """

    outcome: Outcome
    verdict: Literal["authentic", "manipulated"] | None
    probability: float | None
    threshold: float
    tracks: tuple[TrackVerdict, ...] = ()
    members: tuple[FaceOpinion, ...] = ()


def clip_inputs(vectors: NDArray[np.float32], length: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cut the vectors of a track's frames into clips as a clip network takes them.

    Args:
        vectors: float32 [n, D] in the order of time, n ≥ 1.
        length: frames of a clip, T: the member's ``input.frames``.

    Returns:
        Vectors float32 [k, T, D], padded at the end with zeros, and lengths int64 [k] in 1..T.
    """
    slices = clip_slices(len(vectors), length)
    padded = np.zeros((len(slices), length, vectors.shape[1]), dtype=np.float32)
    for number, part in enumerate(slices):
        padded[number, : part.stop - part.start] = vectors[part]
    return padded, np.array([part.stop - part.start for part in slices], dtype=np.int64)


def judge_tracks(
    document: Bundle, tracks: Mapping[int, Mapping[str, MemberScores]], *, min_frames: int = 1
) -> FaceVerdict:
    """Judge a medium from what the networks said.

    Args:
        document: the bundle, whose temperatures, weights and thresholds hold.
        tracks: by number the scores of every member, by name.
        min_frames: tracks of fewer frames are left out.
    """
    threshold = document.operating_point.threshold
    judged = tuple(
        _judge_track(document.members, number, tracks[number])
        for number in sorted(tracks)
        if len(next(iter(tracks[number].values())).frames) >= min_frames
    )
    if not judged:
        return FaceVerdict("too_short" if tracks else "no_face", None, None, threshold)
    score = medium_probability([track.probability for track in judged])
    return FaceVerdict(
        "judged",
        "manipulated" if score >= threshold else "authentic",
        score,
        threshold,
        judged,
        tuple(_opinion(member, judged) for member in document.members),
    )


def _judge_track(members: Sequence[BundleMember], number: int, scores: Mapping[str, MemberScores]) -> TrackVerdict:
    weights = {member.name: member.weight for member in members}
    frames: dict[str, Scores] = {}
    whole: dict[str, float] = {}
    for member in members:
        own = scores[member.name]
        frames[member.name] = probability(own.frames, member.temperature)
        clips = None if own.clips is None else probability(own.clips, member.temperature)
        whole[member.name] = track_probability(frames[member.name], clips)
    return TrackVerdict(number, float(weighted(whole, weights)), weighted(frames, weights), whole)


def _opinion(member: BundleMember, tracks: Sequence[TrackVerdict]) -> FaceOpinion:
    score = medium_probability([track.members[member.name] for track in tracks])
    return FaceOpinion(member.name, score, score >= member.operating_point.threshold)


def ensemble_heatmap(
    heatmaps: Mapping[str, NDArray[np.float32]], weights: Mapping[str, float]
) -> NDArray[np.float32] | None:
    """Return where a frame looks manipulated to the members that can say so, weighted as the members are.

    Args:
        heatmaps: float32 [h, w] in 0..1 by member; sizes may differ.
        weights: by member, of those members and maybe others.

    Returns:
        float32 [h, w] in 0..1 at the size of the largest; None where no member has a heatmap. Where all of those that
        have one weigh nothing, their plain mean.
    """
    if not heatmaps:
        return None
    height, width = max((heatmap.shape for heatmap in heatmaps.values()), key=lambda shape: shape[0] * shape[1])
    resized = {name: np.asarray(cv2.resize(one, (width, height)), np.float64) for name, one in heatmaps.items()}
    shares = {name: weights[name] for name in heatmaps}
    if not any(shares.values()):
        shares = dict.fromkeys(shares, 1.0)
    return np.clip(weighted(resized, shares), 0, 1).astype(np.float32)


def judge_faces(
    found: Found, document: Bundle, runs: Mapping[str, FaceRun], *, batch_size: int = 32, min_frames: int = 1
) -> FaceVerdict:
    """Judge the faces found in a medium.

    Args:
        found: the crops, of each track in the order of time.
        document: the bundle.
        runs: its networks by member name, as ``open_faces`` returns them.
        batch_size: most crops or clips in one call of a network.
        min_frames: faces seen in fewer frames are left out.
    """
    crops: dict[int, list[NDArray[np.uint8]]] = defaultdict(list)
    for crop in found.crops:
        crops[crop.track].append(crop.rgb)
    tracks = {
        number: {
            member.name: member_scores(pictures, member, runs[member.name], batch_size) for member in document.members
        }
        for number, pictures in crops.items()
    }
    return judge_tracks(document, tracks, min_frames=min_frames)


def member_scores(
    pictures: Sequence[NDArray[np.uint8]], member: BundleMember, run: FaceRun, batch_size: int = 32
) -> MemberScores:
    """Run one member over the crops of one track.

    Args:
        pictures: uint8 [H, W, 3] in the order of time, at least one.
        member: whose.
        run: its networks.
        batch_size: most crops or clips in one call of a network.
    """
    views = np.stack([face_view(picture, member.input) for picture in pictures])
    outputs = [run.frames(views[start : start + batch_size]) for start in range(0, len(views), batch_size)]
    logits = np.concatenate([output["logits"][:, 0] for output in outputs])
    if run.clip is None:
        return MemberScores(logits)
    vectors, lengths = clip_inputs(np.concatenate([output["vectors"] for output in outputs]), member.input.frames)
    parts = [slice(start, start + batch_size) for start in range(0, len(vectors), batch_size)]
    return MemberScores(logits, np.concatenate([run.clip(vectors[part], lengths[part])[:, 0] for part in parts]))
