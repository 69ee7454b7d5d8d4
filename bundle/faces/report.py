"""The document of a judged video or picture of faces, and which of its frames are worth a look."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bundle.faces.verdict import FaceVerdict, TrackVerdict
from media.faces import FaceCrop, FacesFound

DECIMALS = 6  # of probabilities and seconds; boxes have a tenth of a pixel


@dataclass(frozen=True)
class Suspect:
    """One face in one frame, and how manipulated it looks.

    Attributes:
        crop: the face.
        position: of the crop in ``FacesFound.crops``.
        probability: of the ensemble for this frame by itself, 0..1.
    """

    crop: FaceCrop
    position: int
    probability: float


def verdict_document(verdict: FaceVerdict, found: FacesFound) -> dict[str, Any]:
    """Return what can be written as JSON of a verdict: all but the heatmaps and what the medium is.

    Args:
        verdict: of the medium.
        found: the faces that were judged.
    """
    crops = crops_by_track(found)
    faces = [_face(track, crops[track.track]) for track in verdict.tracks]
    return {
        "outcome": verdict.outcome,
        "verdict": verdict.verdict,
        "probability": None if verdict.probability is None else round(verdict.probability, DECIMALS),
        "threshold": verdict.threshold,
        "faces": faces,
        "frames": found.frames,
        "frames_used": len({frame["frame"] for face in faces for frame in face["frames"]}),
        "members": [
            {
                "name": opinion.name,
                "verdict": "manipulated" if opinion.manipulated else "authentic",
                "probability": round(opinion.probability, DECIMALS),
            }
            for opinion in verdict.members
        ],
        "abstained": list(verdict.abstained),
    }


def crops_by_track(found: FacesFound) -> dict[int, list[FaceCrop]]:
    """Return the crops of each track, in the order of time."""
    crops: dict[int, list[FaceCrop]] = defaultdict(list)
    for crop in found.crops:
        crops[crop.track].append(crop)
    return crops


def most_suspicious(verdict: FaceVerdict, found: FacesFound, count: int) -> list[Suspect]:
    """Return the faces in single frames that look most manipulated, the worst first; of equal ones the earlier.

    Args:
        verdict: of the medium.
        found: the faces that were judged.
        count: how many at most.
    """
    tracks: Mapping[int, TrackVerdict] = {track.track: track for track in verdict.tracks}
    taken: dict[int, int] = defaultdict(int)
    suspects = []
    for position, crop in enumerate(found.crops):
        if crop.track in tracks:
            suspects.append(Suspect(crop, position, float(tracks[crop.track].frames[taken[crop.track]])))
            taken[crop.track] += 1
    return sorted(suspects, key=lambda suspect: -suspect.probability)[:count]


def _face(track: TrackVerdict, crops: Sequence[FaceCrop]) -> dict[str, Any]:
    frames = [
        {
            "frame": crop.frame,
            "time": _seconds(crop),
            "box": [round(float(side), 1) for side in crop.box],
            "probability": round(float(probability), DECIMALS),
        }
        for crop, probability in zip(crops, track.frames, strict=True)
    ]
    return {
        "face": track.track,
        "probability": round(track.probability, DECIMALS),
        "first_time": _seconds(crops[0]),
        "last_time": _seconds(crops[-1]),
        "abstained": list(track.abstained),
        "frames_used": len(frames),
        "frames": frames,
    }


def _seconds(crop: FaceCrop) -> float:
    return round(crop.time_ms / 1000, DECIMALS)
