"""What recipes say of the steps of pictures whose forged regions are marked, beside what all tasks share."""

from pydantic import Field, field_validator

from bundle.document import Name
from media.tiles import FORGED_CROPS
from tasks.settings import EvaluateSettings, ExportSettings, FitSettings, GateSettings, SamplingSettings, SweepSettings

MIN_AREAS = (0.0, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05)


class RegionsSampling(SamplingSettings):
    """How often each training picture is drawn (weighted, with replacement), and where its crop lies."""

    forged_crops: float = Field(default=FORGED_CROPS, ge=0, le=1)
    """Share of the draws of a forged picture whose crop is laid over a random forged pixel, 0..1; the others lie
    anywhere, where a large picture mostly shows nothing forged. Without a part in the view ``whole``."""


class RegionsFit(FitSettings):
    """What is fitted for networks that mark regions."""

    pixels_per_picture: int = Field(default=4096, ge=2)
    """Drawn from each val picture to fit temperatures and weights on."""
    max_pixels: int = Field(default=8_000_000, ge=2)
    """Ceiling on all that are drawn; fewer are drawn from each picture where val is large."""
    min_areas: tuple[float, ...] = Field(default=MIN_AREAS, min_length=1)
    """Minimum forged areas to choose the operating point among, as fractions of a picture."""


class RegionsEvaluate(RegionsFit, EvaluateSettings):
    """How networks that mark regions are evaluated."""

    recalls: tuple[float, ...] = (0.5, 0.7, 0.9)
    """Recalls on val at which false positives are compared, beside the first group's own recall."""


class RegionsExport(RegionsFit, ExportSettings):
    """What an export of networks that mark regions fits and writes."""

    name: Name = "regions"
    """Of the bundle; releases of one name replace each other."""


class RegionsGate(GateSettings):
    """What a release must reach on the test split; null asks for nothing."""

    min_f1: float | None = Field(default=0.3, ge=0, le=1)
    """Least F1 on forged pictures, 0..1."""


class RegionsSweep(SweepSettings):
    """What counts as a hard negative, and how the operating point is chosen."""

    min_areas: tuple[float, ...] = Field(default=MIN_AREAS, min_length=1)
    """Minimum forged areas to choose the operating point among, as fractions of a picture."""
    mining_count: float | None = Field(default=None, gt=0)
    """How many hard negatives to find: a number from 1 on, or below 1 a share of the authentic train pictures. The
    threshold is then the highest, of 1/1024 to 1023/1024, above which so many have false positives, and the hardest
    are kept; null takes the threshold below, however many that finds. The published list holds 0.28 of them."""
    mining_threshold: float | None = Field(default=None, gt=0, le=1)
    """Threshold above which a pixel of an authentic picture is a false positive; null takes the chosen operating
    point's. A lower one finds more hard negatives. With ``mining_count``, the lowest that may be chosen; null is
    1/1024."""
    mining_min_area_fraction: float | None = Field(default=None, ge=0, le=1)
    """False-positive area from which a picture is a hard negative; null takes the operating point's."""

    @field_validator("mining_count")
    @classmethod
    def _whole(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and not value.is_integer():
            raise ValueError("must be a whole number, or a share below 1")
        return value
