"""The answer to a video or a picture by its faces, as the OpenAPI document shows it."""

from typing import Literal

from pydantic import BaseModel, Field

from bundle.analyzers import Served, Tally
from bundle.answers import BundleIdentity, PictureFacts, Timings, VideoFactsDocument

STAGES = ("decode", "detect", "preprocess", "queue", "inference", "postprocess")
FACES, FRAMES_USED = "faces", "frames_used"
MOST_HEATMAPS = 32
FaceVerdictName = Literal["authentic", "manipulated"]


class FaceFrame(BaseModel):
    """One face in one frame that was used.

    ``frame`` is its number in the order in which frames are shown, from 0; ``time`` is in seconds from the start;
    ``box`` is the face's, x0, y0, x1, y1 in px of the upright frame; ``probability`` is that of this frame by itself.
    """

    frame: int = Field(ge=0)
    time: float
    box: tuple[float, float, float, float]
    probability: float = Field(ge=0, le=1)


class FaceDocument(BaseModel):
    """One face followed through a video, or found in a picture.

    ``probability`` is that of all its frames together, by the members that could read it; ``abstained`` names the
    others.
    """

    face: int
    probability: float = Field(ge=0, le=1)
    abstained: list[str]
    first_time: float
    last_time: float
    frames_used: int = Field(ge=1)
    frames: list[FaceFrame]


class FaceMemberDocument(BaseModel):
    """What one member says by itself, at its own threshold."""

    name: str
    verdict: FaceVerdictName
    probability: float = Field(ge=0, le=1)


class HeatmapDocument(BaseModel):
    """Where a face looks manipulated in one of its frames.

    ``picture`` is a PNG in base64 of the face as it was cut out, with the heat laid over it: the hotter, the
    brighter, and the less of the face shows through. ``members`` says whose heat it is: their mean,
    weighted as they are.
    """

    face: int
    frame: int = Field(ge=0)
    time: float
    probability: float = Field(ge=0, le=1)
    members: list[str]
    picture: str


class FaceTimings(Timings):
    """Seconds, as ``Timings``; ``detect`` is for finding and cutting out faces."""

    detect: float


class FaceAnalysis(BaseModel):
    """The verdict on the faces in a video or a picture.

    ``outcome`` is ``judged``; ``no_face`` where none was found; ``too_short`` where every face was seen in too few
    frames; or ``abstained`` where no member of the ensemble could read what there is. Unless judged, ``verdict`` and
    ``probability`` are null. ``probability`` is that of the most suspicious face, and at least ``threshold`` exactly
    when the verdict is manipulated. ``frames`` were looked at; in ``frames_used`` of them a face was judged.
    ``abstained`` names the members that judged no face, as what they read is missing; each face names its own. One of
    ``video`` and ``picture`` is null.
    """

    outcome: Literal["judged", "no_face", "too_short", "abstained"]
    verdict: FaceVerdictName | None
    probability: float | None = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    faces: list[FaceDocument]
    frames: int
    frames_used: int
    members: list[FaceMemberDocument]
    abstained: list[str] = []
    heatmaps: list[HeatmapDocument]
    video: VideoFactsDocument | None
    picture: PictureFacts | None
    bundle: BundleIdentity
    timings: FaceTimings


class FaceOptions(BaseModel):
    """What a request may ask."""

    heatmaps: int = Field(
        default=3,
        ge=0,
        le=MOST_HEATMAPS,
        description="of faces: how many heatmaps the answer holds at most",
    )


SERVED = Served(
    answer=FaceAnalysis,
    stages=STAGES,
    outcomes=("judged", "no_face", "too_short", "abstained"),
    options=FaceOptions,
    tallies=(
        Tally(FACES, "Faces judged in a picture or a video.", (0, 1, 2, 3, 5, 10, 20)),
        Tally(FRAMES_USED, "Frames in which a face was judged.", (0, 1, 4, 8, 16, 32, 64, 128, 256)),
    ),
)
