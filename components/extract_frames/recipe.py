"""The settings of an extraction."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from core.errors import SettingsError
from core.settings import Settings
from data.layouts import LAYOUTS, LayoutOptions, check_options, require_layout
from data.shards import TARGET_BYTES
from data.splits import SplitSettings
from media.pictures import MAX_PIXELS, PILLOW_LIMIT
from media.spec import PreprocessingSpec
from media.video import VideoLimits


def _known_layout(name: str) -> str:
    try:
        return require_layout(name).name
    except SettingsError as error:
        raise ValueError(str(error)) from None


class NearDuplicates(Settings):
    """Which pictures are taken for copies of each other, so that they come into one split.

    ``distance`` is the greatest number of differing bits of 64 (None compares no pictures; identical files still come
    together); ``mirrored`` also compares each with the mirror image of the others. Faces look alike without being
    copies: for layouts of clips and of faces the default is None, and for clips nothing else is allowed.
    """

    distance: int | None = Field(default=4, ge=0, le=8)
    mirrored: bool = False


class Limits(Settings):
    """What is refused before it is read or decoded.

    ``max_bytes`` is of the file of a picture, ``max_clip_bytes`` of that of a clip; ``max_pixels`` of a picture or a
    frame; ``max_seconds`` and ``max_frames`` of a clip.
    """

    max_bytes: int = Field(default=256 * 2**20, gt=0)
    max_clip_bytes: int = Field(default=16 * 2**30, gt=0)
    max_pixels: int = Field(default=MAX_PIXELS, gt=0, le=PILLOW_LIMIT)
    max_seconds: float = Field(default=VideoLimits.max_seconds, gt=0)
    max_frames: int = Field(default=VideoLimits.max_frames, gt=0)


class ExtractRecipe(Settings):
    """How a data set is read, split and stored.

    ``dataset`` names it in every ``media_id``; ``layout_options`` choose what is taken of it; ``shard_bytes`` is how
    large a shard may become. With ``boxes_of_original`` the faces of a manipulated clip are searched in the clip that
    it was made from, where the layout knows it and it is there: a face is then cut alike whatever was done to it.
    """

    layout: Annotated[str, AfterValidator(_known_layout)]
    dataset: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    layout_options: LayoutOptions = LayoutOptions()
    splits: SplitSettings = SplitSettings()
    near_duplicates: NearDuplicates = NearDuplicates()
    limits: Limits = Limits()
    spec: PreprocessingSpec = PreprocessingSpec()
    boxes_of_original: bool = False
    shard_bytes: int = Field(default=TARGET_BYTES, ge=4096)

    @model_validator(mode="before")
    @classmethod
    def _compare_no_faces(cls, data: Any) -> Any:
        if isinstance(data, dict) and "near_duplicates" not in data:
            layout = LAYOUTS.get(str(data.get("layout")))
            if layout is not None and layout.holds != "pictures":
                return {**data, "near_duplicates": NearDuplicates(distance=None)}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        layout, extraction = LAYOUTS[self.layout], self.spec.extraction
        try:
            check_options(layout, self.layout_options)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if (layout.holds == "clips") != (extraction.decoder == "pyav"):
            raise ValueError(
                f"layout {self.layout!r} holds {layout.holds}: spec.extraction.decoder must be "
                f"{'pyav' if layout.holds == 'clips' else 'pillow'}"
            )
        if (layout.holds == "pictures") != (extraction.faces is None):
            told = "must be null" if layout.holds == "pictures" else "must say how faces are cut, or were"
            raise ValueError(f"layout {self.layout!r} holds {layout.holds}: spec.extraction.faces {told}")
        if layout.holds == "clips" and self.near_duplicates.distance is not None:
            raise ValueError("clips are not compared: near_duplicates.distance must be null")
        return self
