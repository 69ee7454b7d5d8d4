"""The recipe of the sweep."""

from pydantic import Field

from core.settings import Settings
from judging.settings import JudgingSettings
from judging.statistics import MIN_AREAS


class SweepRecipe(Settings):
    """What counts as a hard negative, and how the operating point is chosen.

    Attributes:
        judging: device, precision and batch.
        max_authentic_fpr: ceiling on the share of authentic val pictures called forged, 0..1.
        min_areas: minimum forged areas to choose among, as fractions of a picture.
        mining_threshold: threshold above which a pixel of an authentic picture is a false positive; None takes the
            chosen operating point's. A lower one finds more hard negatives.
        mining_min_area_fraction: false-positive area from which a picture is a hard negative; None takes the
            operating point's.
        limit: at most this many hard negatives, the hardest; None keeps all.
        gallery: pictures shown in the report.
    """

    judging: JudgingSettings = JudgingSettings()
    max_authentic_fpr: float = Field(default=0.05, ge=0, le=1)
    min_areas: tuple[float, ...] = Field(default=MIN_AREAS, min_length=1)
    mining_threshold: float | None = Field(default=None, gt=0, le=1)
    mining_min_area_fraction: float | None = Field(default=None, ge=0, le=1)
    limit: int | None = Field(default=None, ge=1)
    gallery: int = Field(default=24, ge=0, le=500)
