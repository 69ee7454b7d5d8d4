"""What a bundle that classifies faces decides of a medium."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from bundle.faces.scores import Scores
from core.settings import Settings

Outcome = Literal["judged", "no_face", "too_short", "abstained"]


class FaceDecision(Settings):
    """From when on a medium counts as manipulated; chosen on the validation split."""

    threshold: float = Field(ge=0, le=1)
    """A medium counts as manipulated when its probability is at least this, 0 to 1."""


@dataclass(frozen=True)
class TrackVerdict:
    """The ensemble's and the members' probabilities of one face.

    Attributes:
        track: its number.
        probability: of the ensemble, 0..1.
        frames: of the ensemble for each frame by itself, float64 [n], 0..1.
        members: of each member that did not abstain, by name.
        abstained: names of those that did, in the bundle's order.
    """

    track: int
    probability: float
    frames: Scores
    members: Mapping[str, float]
    abstained: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaceOpinion:
    """One member's verdict by itself: its probability, and ``manipulated`` at the member's own threshold."""

    name: str
    probability: float
    manipulated: bool


@dataclass(frozen=True)
class FaceVerdict:
    """The verdict on a medium.

    Attributes:
        outcome: ``judged``; ``no_face`` where no face was found; ``too_short`` where every face found was seen in
            fewer frames than asked for; ``abstained`` where every member abstained from every other face.
        verdict: None unless judged.
        probability: of the most suspicious track, 0..1; ``manipulated`` from ``threshold`` on; None unless judged.
        threshold: of the bundle.
        tracks: those that were judged, by number.
        members: those that judged a track, in the bundle's order.
        abstained: names of those that abstained from every track that was judged, in the bundle's order.
    """

    outcome: Outcome
    verdict: Literal["authentic", "manipulated"] | None
    probability: float | None
    threshold: float
    tracks: tuple[TrackVerdict, ...] = ()
    members: tuple[FaceOpinion, ...] = ()
    abstained: tuple[str, ...] = ()
