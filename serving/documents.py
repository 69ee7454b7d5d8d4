"""The JSON that the server answers with, as the OpenAPI document shows it."""

from typing import Literal

from pydantic import BaseModel, Field

VerdictName = Literal["authentic", "forged"]
FaceVerdictName = Literal["authentic", "manipulated"]


class BundleIdentity(BaseModel):
    """Which bundle judged: ``sha256`` is the digest of its ``bundle.json``, which holds the hash of every file."""

    name: str
    version: str
    sha256: str


class PictureFacts(BaseModel):
    """The picture as it was judged: size in px as shown (EXIF orientation applied), and the digest of the file."""

    width: int
    height: int
    sha256: str


class RegionDocument(BaseModel):
    """A connected forged region.

    ``polygon`` is its outer border, (x, y) in px; ``box`` is x0, y0, x1, y1 in px with x1 and y1 just outside;
    ``score`` is the mean probability of its pixels, ``area_fraction`` its share of the picture.
    """

    polygon: list[tuple[int, int]]
    box: tuple[int, int, int, int]
    score: float = Field(ge=0, le=1)
    area_fraction: float = Field(ge=0, le=1)


class MemberDocument(BaseModel):
    """What one network of the ensemble says by itself, at its own operating point."""

    name: str
    verdict: VerdictName
    score: float = Field(ge=0, le=1)
    forged_fraction: float = Field(ge=0, le=1)


class Timings(BaseModel):
    """Seconds. ``queue`` is everything that is none of the stages: waiting for a thread, for memory, for a batch.

    ``inference`` is the length of the forward passes that held tiles of this picture, which others may have shared.
    """

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float


class Analysis(BaseModel):
    """The verdict on a picture.

    ``score`` is at least ``threshold`` exactly when the verdict is forged. ``mask`` is a PNG in base64, of the
    picture's size, 255 where forged and 0 elsewhere, all 0 when the verdict is authentic; null when not asked for.
    """

    verdict: VerdictName
    score: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    min_area_fraction: float = Field(ge=0, le=1)
    forged_fraction: float = Field(ge=0, le=1)
    regions: list[RegionDocument]
    members: list[MemberDocument]
    mask: str | None
    picture: PictureFacts
    bundle: BundleIdentity
    timings: Timings


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
    """One face followed through a video, or found in a picture; ``probability`` is that of all its frames together."""

    face: int
    probability: float = Field(ge=0, le=1)
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

    ``picture`` is a PNG in base64 of the face as the networks were given it, with the heat laid over it: the
    hotter, the brighter, and the less of the face shows through. ``members`` says whose heat it is: their mean,
    weighted as they are.
    """

    face: int
    frame: int = Field(ge=0)
    time: float
    probability: float = Field(ge=0, le=1)
    members: list[str]
    picture: str


class VideoFactsDocument(BaseModel):
    """The video as its container describes it.

    ``width`` and ``height`` are in px as shown, ``rotation`` (degrees, counter-clockwise) applied; ``duration`` is in
    seconds, ``rate`` the mean of frames a second. What the container does not say is null.
    """

    width: int
    height: int
    duration: float | None
    frames: int | None
    rate: float | None
    codec: str
    rotation: int
    sha256: str


class FaceTimings(Timings):
    """Seconds, as ``Timings``; ``detect`` is for finding and cutting out faces."""

    detect: float


class FaceAnalysis(BaseModel):
    """The verdict on the faces in a video or a picture.

    ``outcome`` is ``judged``; ``no_face`` where none was found; or ``too_short`` where every face was seen in too few
    frames. Unless judged, ``verdict`` and ``probability`` are null. ``probability`` is that of the most
    suspicious face, and at least ``threshold`` exactly when the verdict is manipulated. ``frames`` were looked at; in
    ``frames_used`` of them a face was judged. One of ``video`` and ``picture`` is null.
    """

    outcome: Literal["judged", "no_face", "too_short"]
    verdict: FaceVerdictName | None
    probability: float | None = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    faces: list[FaceDocument]
    frames: int
    frames_used: int
    members: list[FaceMemberDocument]
    heatmaps: list[HeatmapDocument]
    video: VideoFactsDocument | None
    picture: PictureFacts | None
    bundle: BundleIdentity
    timings: FaceTimings


class Live(BaseModel):
    """Answer of ``/v2/health/live``."""

    live: bool


class Ready(BaseModel):
    """Answer of the two ready routes."""

    ready: bool


class ServerMetadata(BaseModel):
    """Answer of ``/v2``."""

    name: str
    version: str
    extensions: list[str] = []


class TensorMetadata(BaseModel):
    """Name, type and shape of a tensor; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """Answer of ``/v2/models/{name}``."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
