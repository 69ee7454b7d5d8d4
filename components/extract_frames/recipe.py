"""The settings of an extraction."""

from typing import Annotated

from pydantic import AfterValidator, Field

from media.errors import SettingsError
from media.layouts import require_layout
from media.pictures import MAX_PIXELS, PILLOW_LIMIT
from media.settings import Settings
from media.shards import TARGET_BYTES
from media.spec import PreprocessingSpec
from media.splits import SplitSettings


def _known_layout(name: str) -> str:
    try:
        return require_layout(name)
    except SettingsError as error:
        raise ValueError(str(error)) from None


class NearDuplicates(Settings):
    """Which pictures are taken for copies of each other, so that they come into one split.

    ``distance`` is the greatest number of differing bits of 64 (None compares no pictures; identical files still come
    together); ``mirrored`` also compares each with the mirror image of the others.
    """

    distance: int | None = Field(default=4, ge=0, le=8)
    mirrored: bool = False


class Limits(Settings):
    """What is refused before it is read or decoded: larger files (bytes), and larger pictures (pixels)."""

    max_bytes: int = Field(default=256 * 2**20, gt=0)
    max_pixels: int = Field(default=MAX_PIXELS, gt=0, le=PILLOW_LIMIT)


class ExtractRecipe(Settings):
    """How a data set is read, split and stored.

    ``dataset`` names it in every ``media_id``; ``shard_bytes`` is how large a shard may become.
    """

    layout: Annotated[str, AfterValidator(_known_layout)]
    dataset: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    splits: SplitSettings = SplitSettings()
    near_duplicates: NearDuplicates = NearDuplicates()
    limits: Limits = Limits()
    spec: PreprocessingSpec = PreprocessingSpec()
    shard_bytes: int = Field(default=TARGET_BYTES, ge=4096)
