"""The JSON that the server answers with, as the OpenAPI document shows it."""

from typing import Literal

from pydantic import BaseModel, Field

VerdictName = Literal["authentic", "forged"]


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
