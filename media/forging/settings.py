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
    """What happens to a whole picture, authentic or not; each probability is of a step taken by itself.

    ``untouched`` is drawn first: such a picture goes through nothing at all. ``scale`` is a factor of the side,
    ``quality`` of JPEG, ``blur`` a standard deviation in px, ``noise`` one in grey levels, ``crop`` the largest
    number of px cut from each side, which moves the 8×8 grid of earlier compressions.
    """

    untouched: Probability = 0.45
    crop_probability: Probability = 0.0
    crop: Annotated[int, Field(ge=0, le=64)] = 15
    resize_probability: Probability = 0.25
    scale: PositiveRange = (0.6, 1.4)
    camera_probability: Probability = 0.0
    colour_probability: Probability = 0.2
    blur_probability: Probability = 0.1
    blur: PositiveRange = (0.4, 1.0)
    sharpen_probability: Probability = 0.1
    noise_probability: Probability = 0.1
    noise: PositiveRange = (0.7, 4.0)
    jpeg_probability: Probability = 0.8
    quality: QualityRange = (60, 98)


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
    antialiased: Weight = 0.4
    feathered: Weight = 0.3
    feather: PositiveRange = (0.8, 3.0)
    grow: tuple[int, int] = (-2, 3)
    blur_probability: Probability = 0.2
    blur: PositiveRange = (0.6, 2.0)


class ForgeSettings(Settings):
    """Settings of the forging; the defaults are meant for photographs of any kind.

    Args:
        copy_move: weight of regions copied within the picture.
        splice: weight of regions from another photograph.
        removal: weight of regions painted over with their surroundings.
        area: forged fraction of the picture, 0..1; objects are drawn from it, most log-uniformly.
        wide_probability: share of objects whose area is drawn uniformly, and so is mostly large.
        large_area: the same for large blobs, half pictures and replaced backgrounds, drawn uniformly.
        replace_probability: share of splices that put the donor in the place of a large part of the host.
        scale: factor of a pasted region's side.
        rotation: largest angle of a pasted region, degrees either way.
        rigid_probability: share of regions that are pasted with neither rotation nor scaling.
        flip_probability: share of regions that are mirrored.
        second_probability: share of pictures with a second forged region.
        colour_match_probability: share of regions whose colours are drawn towards their new surroundings.
        noise_match_probability: share of regions whose noise is made that of their new surroundings.
        retouch_probability: share of regions with a change of brightness, contrast and saturation of their own.
        heal_probability: share of regions whose seam is levelled out the way a healing brush does it.
        min_difference: least mean absolute difference to the picture before forging, grey levels, inside the
            mask after a 3×3 mean; what falls below would be a forgery that nobody, and nothing, could see.
        attempts: how many drawings are tried before a photograph is given up.
        min_side: shorter side in px below which a photograph is not used.
        max_side: longest side in px above which pictures are cropped or scaled down, half of them each; None for no
            limit. The time a forgery takes grows with its pixels.
        authentic_as_forged: share of authentic pictures that go through the processing of a forged twin; the
            others keep their original bytes.
        edge: the seams.
        history: what hosts and donors went through before, each by itself.
        finish: what the whole picture goes through afterwards; its last step is the second compression.
    """

    copy_move: Weight = 0.35
    splice: Weight = 0.5
    removal: Weight = 0.15
    area: FractionRange = (0.006, 0.45)
    wide_probability: Probability = 0.4
    large_area: FractionRange = (0.08, 0.5)
    replace_probability: Probability = 0.4
    scale: PositiveRange = (0.6, 1.6)
    rotation: Annotated[float, Field(ge=0, le=180)] = 40.0
    rigid_probability: Probability = 0.4
    flip_probability: Probability = 0.25
    second_probability: Probability = 0.12
    colour_match_probability: Probability = 0.4
    noise_match_probability: Probability = 0.25
    retouch_probability: Probability = 0.25
    heal_probability: Probability = 0.1
    min_difference: Annotated[float, Field(ge=0)] = 6.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 16
    min_side: Annotated[int, Field(ge=32)] = 96
    max_side: Annotated[int, Field(ge=64)] | None = 1600
    authentic_as_forged: Probability = 1.0
    edge: EdgeSettings = EdgeSettings()
    history: ProcessingSettings = HISTORY
    finish: ProcessingSettings = ProcessingSettings()

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
    """All that decides what a folder of forgeries holds, beside the photographs themselves.

    Args:
        seed: with the same photographs the same seed gives the same files.
        per_photo: forgeries of each photograph.
        authentic_per_photo: authentic pictures of each photograph, each the twin of one forgery.
        cluster: photographs that may be each other's donors. Pictures that share a source must stay on one side of
            a split, so free choice of donors would tie the whole folder into one group.
        settings: what may be drawn.
    """

    seed: int = 0
    per_photo: int = Field(default=3, ge=1)
    authentic_per_photo: int = Field(default=3, ge=0)
    cluster: int = Field(default=4, ge=1, le=64)
    settings: ForgeSettings = ForgeSettings()
