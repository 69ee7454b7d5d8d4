"""Analyzing a medium by the faces found in it: the arithmetic that export, tests and the server share.

A server runs the networks its own way, in batches across requests; it takes ``track_windows``, ``clip_inputs``,
``decide_tracks`` and ``ensemble_heatmap`` from this module, and ``analyze_faces`` is the direct way through the same
functions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from bundle.document import CLIP, MODEL, Bundle, BundleMember
from bundle.faces.scores import (
    Scores,
    abstains,
    medium_probability,
    probability,
    shown_views,
    track_probability,
    weighted,
)
from bundle.faces.verdict import FaceDecision, FaceOpinion, FaceVerdict, TrackVerdict
from bundle.faces.windows import windows
from bundle.runtimes import Networks
from media.extraction import EvenFrames, ExtractionSpec, FaceSpec
from media.view import StoredSample, View, stack


class Crop(Protocol):
    """What is needed of a face crop: whose it is, its place in time, and what views are cut from."""

    @property
    def track(self) -> int:
        """Number of the face that the crop is of."""

    @property
    def run(self) -> int:
        """The run of consecutive frames that the crop's frame belongs to."""

    @property
    def frame(self) -> int:
        """Number of the frame in its clip."""

    @property
    def sample(self) -> StoredSample:
        """The crop as it is stored."""


class Found(Protocol):
    """What is needed of the faces found in a medium: their crops, of each track in the order of time."""

    @property
    def crops(self) -> Sequence[Crop]:
        """The crops."""


@dataclass(frozen=True)
class MemberScores:
    """What one member's networks give of one track.

    Attributes:
        frames: logits of its n frames by themselves, float [n], in the order of time.
        clips: logits of its clips, float [k], as ``track_windows`` cuts them; None for a member without clips.
    """

    frames: NDArray[np.floating]
    clips: NDArray[np.floating] | None = None


def faces_to_cut(bundle: Bundle) -> FaceSpec:
    """Return how faces are cut out so that every member's views can be cut from the crops.

    Raises:
        ValueError: when the bundle does not say how faces are cut out.
    """
    faces = bundle.extraction.faces
    if faces is None:
        raise ValueError("extraction.faces = null: a bundle that classifies faces must say how they are cut out")
    reach = max(view.reach() for member in bundle.members for view in member.input.views.values())
    return faces.model_copy(update={"margin": max(faces.margin, reach)})


def extraction_for_video(bundle: Bundle, frames: int) -> ExtractionSpec:
    """Return how the faces of a video are extracted.

    Args:
        bundle: whose networks will read them.
        frames: how many are taken, spread evenly, where the networks learned from single pictures.
    """
    extraction, faces = bundle.extraction, faces_to_cut(bundle)
    if extraction.frames != "still":
        return extraction.model_copy(update={"faces": faces})
    return ExtractionSpec(decoder="pyav", frames=EvenFrames(count=frames), faces=faces, store="png")


def track_windows(crops: Sequence[Crop], bundle: Bundle, member: BundleMember) -> list[slice]:
    """Cut the crops of one track, in the order of time, into the clips that a member's clip network judges."""
    return windows([(crop.run, crop.frame) for crop in crops], bundle.extraction.step, member.input.frames)


def clip_inputs(
    vectors: NDArray[np.float32], parts: Sequence[slice], length: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lay the vectors of a track's frames into clips as a clip network takes them.

    Args:
        vectors: float32 [n, D] in the order of time, n ≥ 1.
        parts: the k clips, each of 1 to T frames.
        length: frames of a clip, T: the member's ``input.frames``.

    Returns:
        Vectors float32 [k, T, D], padded at the end with zeros, and lengths int64 [k] in 1..T.
    """
    padded = np.zeros((len(parts), length, vectors.shape[1]), dtype=np.float32)
    for number, part in enumerate(parts):
        padded[number, : part.stop - part.start] = vectors[part]
    return padded, np.array([part.stop - part.start for part in parts], dtype=np.int64)


def decide_tracks(
    bundle: Bundle, tracks: Mapping[int, Mapping[str, MemberScores | None]], *, min_frames: int = 1
) -> FaceVerdict:
    """Decide on a medium from what the networks gave.

    Args:
        bundle: whose temperatures, weights and thresholds hold.
        tracks: by number the scores of every member, by name; of a member that abstains None or nothing.
        min_frames: tracks of fewer frames are left out; a track from which all members abstain has no length.
    """
    threshold = _decision(bundle).threshold
    scored = {
        number: {name: scores for name, scores in tracks[number].items() if scores is not None}
        for number in sorted(tracks)
    }
    verdicts = tuple(
        _track_verdict(bundle.members, number, scores)
        for number, scores in scored.items()
        if scores and len(next(iter(scores.values())).frames) >= min_frames
    )
    if verdicts:
        speaking = [member for member in bundle.members if any(member.name in track.members for track in verdicts)]
        score = medium_probability([track.probability for track in verdicts])
        return FaceVerdict(
            outcome="judged",
            verdict="manipulated" if score >= threshold else "authentic",
            probability=score,
            threshold=threshold,
            tracks=verdicts,
            members=tuple(_opinion(member, verdicts) for member in speaking),
            abstained=tuple(member.name for member in bundle.members if member not in speaking),
        )
    if not all(scored.values()):
        return FaceVerdict("abstained", None, None, threshold, abstained=tuple(one.name for one in bundle.members))
    return FaceVerdict("too_short" if tracks else "no_face", None, None, threshold)


def _track_verdict(members: Sequence[BundleMember], number: int, scores: Mapping[str, MemberScores]) -> TrackVerdict:
    weights = {member.name: member.weight for member in members}
    frames: dict[str, Scores] = {}
    tracks: dict[str, float] = {}
    for member in members:
        own = scores.get(member.name)
        if own is not None:
            frames[member.name] = probability(own.frames, member.temperature)
            clips = None if own.clips is None else probability(own.clips, member.temperature)
            tracks[member.name] = track_probability(frames[member.name], clips)
    abstained = tuple(name for name in weights if name not in tracks)
    return TrackVerdict(number, float(weighted(tracks, weights)), weighted(frames, weights), tracks, abstained)


def _opinion(member: BundleMember, tracks: Sequence[TrackVerdict]) -> FaceOpinion:
    score = medium_probability([track.members[member.name] for track in tracks if member.name in track.members])
    return FaceOpinion(member.name, score, score >= _decision(member).threshold)


def _decision(owner: Bundle | BundleMember) -> FaceDecision:
    assert isinstance(owner.decision, FaceDecision)  # noqa: S101 - the document checks it
    return owner.decision


def ensemble_heatmap(
    heatmaps: Mapping[str, NDArray[np.float32]], weights: Mapping[str, float]
) -> NDArray[np.float32] | None:
    """Return where a frame looks manipulated to the members that have a heatmap of it, weighted as the members are.

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
    return np.clip(weighted(resized, weights), 0, 1).astype(np.float32)


def analyze_faces(
    found: Found,
    bundle: Bundle,
    networks: Mapping[str, Networks],
    *,
    batch_size: int = 32,
    min_frames: int = 1,
) -> FaceVerdict:
    """Analyze the faces found in a medium.

    Args:
        found: the crops, of each track in the order of time.
        bundle: whose networks these are.
        networks: its networks by member, as ``open_networks`` returns them.
        batch_size: most crops or clips in one call of a network.
        min_frames: faces seen in fewer frames are left out.
    """
    by_track: dict[int, list[Crop]] = defaultdict(list)
    for crop in found.crops:
        by_track[crop.track].append(crop)
    tracks = {
        number: {
            member.name: member_scores(
                [crop.sample for crop in crops],
                track_windows(crops, bundle, member),
                member,
                networks[member.name],
                batch_size,
            )
            for member in bundle.members
        }
        for number, crops in by_track.items()
    }
    return decide_tracks(bundle, tracks, min_frames=min_frames)


def member_scores(
    samples: Sequence[StoredSample],
    clips: Sequence[slice],
    member: BundleMember,
    networks: Networks,
    batch_size: int = 32,
) -> MemberScores | None:
    """Run one member over the crops of one track.

    Args:
        samples: the crops in the order of time, at least one.
        clips: of ``track_windows``.
        member: whose.
        networks: its networks.
        batch_size: most crops or clips in one call of a network.

    Returns:
        Its scores; None where it abstains.
    """
    views: Mapping[str, View] = member.input.views
    arrays = [{name: view.cut(sample) for name, view in views.items()} for sample in samples]
    if abstains(views, shown_views(arrays)):
        return None
    starts = range(0, len(arrays), batch_size)
    outputs = [networks[MODEL](stack(views, arrays[start : start + batch_size])) for start in starts]
    logits = np.concatenate([output["logits"][:, 0] for output in outputs])
    if CLIP not in networks:
        return MemberScores(logits)
    frames = np.concatenate([output["vectors"] for output in outputs])
    vectors, lengths = clip_inputs(frames, clips, member.input.frames)
    parts = [slice(start, start + batch_size) for start in range(0, len(vectors), batch_size)]
    judged = [networks[CLIP]({"vectors": vectors[part], "lengths": lengths[part]})["logits"][:, 0] for part in parts]
    return MemberScores(logits, np.concatenate(judged))
