"""What a recipe may choose of a data set."""

from typing import Annotated, Literal

from pydantic import Field

from core.settings import Settings


class LayoutOptions(Settings):
    """What is taken of a data set; null takes all there is. What is not chosen is no rejection."""

    methods: tuple[str, ...] | None = None
    """Of FaceForensics++: methods of manipulation."""
    compressions: tuple[Literal["c0", "c23", "c40"], ...] | None = None
    """Of FaceForensics++: compressions."""
    parts: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    """Of DFDC: the first and the last part, both included, so that parts can be trained on one after another."""
