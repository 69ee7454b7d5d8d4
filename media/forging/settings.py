"""What may be drawn: kinds, sizes, edges, and what pictures went through before and after the forging."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from core.settings import Settings


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound comes first")
    return bounds


Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Quality = Annotated[int, Field(ge=1, le=100)]
QualityRange = Annotated[tuple[Quality, Quality], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(gt=0, le=0.6)]
FractionRange = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]

Kind = Literal["copy-move", "splice", "removal"]
KINDS: tuple[Kind, ...] = ("copy-move", "splice", "removal")


class ProcessingSettings(Settings):
    """What happens to a whole picture, authentic or not; each probability is of a step taken by itself."""

    untouched: Probability = 0.45
    """How often a picture goes through nothing at all; drawn first."""
    crop_probability: Probability = 0.0
    """How often px are cut from the sides, which moves the 8×8 grid of earlier compressions."""
    crop: Annotated[int, Field(ge=0, le=64)] = 15
    """Largest number of px cut from each side."""
    resize_probability: Probability = 0.25
    """How often the picture is scaled."""
    scale: PositiveRange = (0.6, 1.4)
    """Factor of the side."""
    camera_probability: Probability = 0.0
    """How often a camera's noise and demosaicing are put on."""
    colour_probability: Probability = 0.2
    """How often colours are changed."""
    blur_probability: Probability = 0.1
    """How often the picture is blurred."""
    blur: PositiveRange = (0.4, 1.0)
    """Standard deviation of the blur, px."""
    sharpen_probability: Probability = 0.1
    """How often the picture is sharpened."""
    noise_probability: Probability = 0.1
    """How often noise is added."""
    noise: PositiveRange = (0.7, 4.0)
    """Standard deviation of the noise, grey levels."""
    jpeg_probability: Probability = 0.8
    """How often the picture is compressed."""
    quality: QualityRange = (60, 98)
    """Of JPEG, libjpeg's scale."""


HISTORY = ProcessingSettings(
    untouched=0.45,
    crop_probability=0.35,
    resize_probability=0.45,
    scale=(0.55, 1.3),
    camera_probability=0.4,
    jpeg_probability=0.55,
    quality=(50, 100),
)
"""What a picture went through before it was forged or donated a region."""


class EdgeSettings(Settings):
    """The seam of a pasted region; widths in px."""

    hard: Weight = 0.3
    """Weight of edges as cut."""
    antialiased: Weight = 0.4
    """Weight of edges that are soft by half a px."""
    feathered: Weight = 0.3
    """Weight of edges that fade out."""
    feather: PositiveRange = (0.8, 3.0)
    """Standard deviation of a feathered edge."""
    grow: tuple[int, int] = (-2, 3)
    """By how much the region grows, or shrinks, before it is pasted."""
    blur_probability: Probability = 0.2
    """How often the seam is blurred afterwards."""
    blur: PositiveRange = (0.6, 2.0)
    """Standard deviation of that blur."""


class ForgeSettings(Settings):
    """Settings of the forging; the defaults are meant for photographs of any kind."""

    copy_move: Weight = 0.35
    """Weight of regions copied within the picture."""
    splice: Weight = 0.5
    """Weight of regions from another photograph."""
    removal: Weight = 0.15
    """Weight of regions painted over with their surroundings."""
    area: FractionRange = (0.006, 0.45)
    """Forged fraction of the picture, 0..1; objects are drawn from it, most log-uniformly."""
    wide_probability: Probability = 0.4
    """Share of objects whose area is drawn uniformly, and so is mostly large."""
    large_area: FractionRange = (0.08, 0.5)
    """The same for large blobs, half pictures and replaced backgrounds, drawn uniformly."""
    replace_probability: Probability = 0.4
    """Share of splices that put the donor in the place of a large part of the host."""
    scale: PositiveRange = (0.6, 1.6)
    """Factor of a pasted region's side."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 40.0
    """Largest angle of a pasted region, degrees either way."""
    rigid_probability: Probability = 0.4
    """Share of regions that are pasted with neither rotation nor scaling."""
    flip_probability: Probability = 0.25
    """Share of regions that are mirrored."""
    second_probability: Probability = 0.12
    """Share of pictures with a second forged region."""
    colour_match_probability: Probability = 0.4
    """Share of regions whose colours are drawn towards their new surroundings."""
    noise_match_probability: Probability = 0.25
    """Share of regions whose noise is made that of their new surroundings."""
    retouch_probability: Probability = 0.25
    """Share of regions with a change of brightness, contrast and saturation of their own."""
    heal_probability: Probability = 0.1
    """Share of regions whose seam is levelled out the way a healing brush does it."""
    min_difference: Annotated[float, Field(ge=0)] = 6.0
    """Least mean absolute difference to the picture before forging, grey levels, inside the mask after a 3×3 mean; what
    falls below would be a forgery that nobody, and nothing, could see."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 16
    """How many drawings are tried before a photograph is given up."""
    min_side: Annotated[int, Field(ge=32)] = 96
    """Shorter side in px below which a photograph is not used."""
    max_side: Annotated[int, Field(ge=64)] | None = 1600
    """Longest side in px above which pictures are cropped or scaled down, half of them each; None for no limit. The
    time a forgery takes grows with its pixels."""
    authentic_as_forged: Probability = 1.0
    """Share of authentic pictures that go through the processing of a forged twin; the others keep their original
    bytes."""
    edge: EdgeSettings = EdgeSettings()
    """The seams."""
    history: ProcessingSettings = HISTORY
    """What hosts and donors went through before, each by itself."""
    finish: ProcessingSettings = ProcessingSettings()
    """What the whole picture goes through afterwards; its last step is the second compression."""

    @property
    def weights(self) -> dict[Kind, float]:
        """The kinds with their weights."""
        return {"copy-move": self.copy_move, "splice": self.splice, "removal": self.removal}

    @model_validator(mode="after")
    def _something_to_forge(self) -> Self:
        if sum(self.weights.values()) <= 0:
            raise ValueError("one of copy_move, splice and removal must have a positive weight")
        if self.max_side is not None and self.max_side < self.min_side:
            raise ValueError("max_side must not be below min_side")
        return self


class ForgeRequest(Settings):
    """All that decides what a folder of forgeries holds, beside the photographs themselves."""

    seed: int = 0
    """With the same photographs the same seed gives the same files."""
    per_photo: int = Field(default=3, ge=1)
    """Forgeries of each photograph."""
    authentic_per_photo: int = Field(default=3, ge=0)
    """Authentic pictures of each photograph, each the twin of one forgery."""
    cluster: int = Field(default=4, ge=1, le=64)
    """Photographs that may be each other's donors. Pictures that share a source must stay on one side of a split, so
    free choice of donors would tie the whole folder into one group."""
    settings: ForgeSettings = ForgeSettings()
    """What may be drawn."""
