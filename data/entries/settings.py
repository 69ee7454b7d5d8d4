"""What decides how an entry is stored, beside its bytes."""

from pydantic import Field

from core.settings import Settings
from media.extraction import ExtractionSpec
from media.pictures import MAX_PIXELS, PILLOW_LIMIT
from media.video import VideoLimits


class Limits(Settings):
    """What is refused before it is read or decoded."""

    max_bytes: int = Field(default=256 * 2**20, gt=0)
    """Of the file of a picture."""
    max_clip_bytes: int = Field(default=16 * 2**30, gt=0)
    """Of the file of a clip."""
    max_pixels: int = Field(default=MAX_PIXELS, gt=0, le=PILLOW_LIMIT)
    """Of a picture or a frame."""
    max_seconds: float = Field(default=VideoLimits.max_seconds, gt=0)
    """Of a clip."""
    max_frames: int = Field(default=VideoLimits.max_frames, gt=0)
    """Of a clip."""


class EntrySettings(Settings):
    """What a recipe says of every entry; a part of a chunk's name."""

    limits: Limits = Limits()
    """What is refused."""
    extraction: ExtractionSpec = ExtractionSpec()
    """How samples are made and stored."""
    classes: tuple[str, ...]
    """Names of the labels 0, 1 and so on."""
    mirrored: bool = False
    """Whether mirror images are fingerprinted too."""
    boxes_of_original: bool = False
    """Whether a manipulated clip's faces are searched in the clip that it was made from."""
