"""The answer to a picture whose forged regions are marked, as the OpenAPI document shows it."""

from typing import Literal

from pydantic import BaseModel, Field

from bundle.analyzers import Served
from bundle.answers import BundleIdentity, PictureFacts, Timings

STAGES = ("decode", "preprocess", "queue", "inference", "postprocess")
JUDGED = "judged"
VerdictName = Literal["authentic", "forged"]


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


class PictureOptions(BaseModel):
    """What a request may ask."""

    mask: bool = Field(default=True, description="of a picture: whether the answer holds the mask")


SERVED = Served(answer=Analysis, stages=STAGES, outcomes=(JUDGED,), options=PictureOptions)
