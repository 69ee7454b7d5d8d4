"""The settings of an extraction."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from core.errors import SettingsError
from core.settings import Settings
from data.entries.settings import Limits
from data.fragments import TARGET_BYTES
from data.layout import LAYOUTS, LayoutOptions, check_options
from data.splits import SplitSettings
from media.extraction import SampleSpec


def _known_layout(name: str) -> str:
    try:
        return LAYOUTS.get(name).name
    except SettingsError as error:
        raise ValueError(str(error)) from None


class NearDuplicates(Settings):
    """Which pictures are taken for copies of each other, so that they come into one split."""

    distance: int | None = Field(default=4, ge=0, le=8)
    """Greatest number of differing bits of 64; null compares no pictures, and identical files still come together.
    Faces look alike without being copies: for layouts of faces and of clips null is the default, and for clips nothing
    else is allowed."""
    mirrored: bool = False
    """Whether each is also compared with the mirror image of the others."""


class ExtractRecipe(Settings):
    """How a data set is read, split and stored."""

    layout: Annotated[str, AfterValidator(_known_layout)]
    """How its files lie; see ``docs/data.md``."""
    dataset: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Its name in every ``media_id``."""
    layout_options: LayoutOptions = LayoutOptions()
    """What is taken of it."""
    splits: SplitSettings = SplitSettings()
    """How its samples are divided into train, val and test."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """Which pictures are copies of each other."""
    limits: Limits = Limits()
    """What is refused."""
    spec: SampleSpec = SampleSpec()
    """Names of the classes, by default the layout's, and how samples are made and stored."""
    boxes_of_original: bool = False
    """Whether the faces of a manipulated clip are searched in the clip that it was made from, where the layout knows it
    and it is there: a face is then cut alike whatever was done to it."""
    shard_bytes: int = Field(default=TARGET_BYTES, ge=4096)
    """How large a shard may become."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_layout_says(cls, data: Any) -> Any:
        """Fill in what depends on the layout: the names of the classes, and whether pictures are compared."""
        if not isinstance(data, dict) or data.get("layout") not in LAYOUTS.names():
            return data
        layout = LAYOUTS.get(data["layout"])
        filled = {"near_duplicates": NearDuplicates(distance=layout.kind.distance), **data}
        spec = filled.get("spec", {})
        if isinstance(spec, SampleSpec) and "classes" not in spec.model_fields_set:
            filled["spec"] = spec.model_copy(update={"classes": layout.classes})
        elif isinstance(spec, dict):
            filled["spec"] = {"classes": layout.classes, **spec}
        return filled

    @model_validator(mode="after")
    def _check(self) -> Self:
        layout = LAYOUTS.get(self.layout)
        try:
            check_options(layout, self.layout_options)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        problem = layout.kind.problem(self.spec.extraction, self.near_duplicates.distance)
        if problem:
            raise ValueError(f"layout {self.layout!r} holds {layout.kind.plural}: {problem}")
        if len(self.spec.classes) != len(layout.classes):
            raise ValueError(
                f"layout {self.layout!r} has {len(layout.classes)} classes, spec.classes names {len(self.spec.classes)}"
            )
        return self
