"""What a recipe may choose of a data set."""

from typing import Annotated, Literal

from pydantic import Field

from core.settings import Settings


class LayoutOptions(Settings):
    """What is taken of a data set; None takes all there is.

    ``methods`` and ``compressions`` are those of FaceForensics++; ``parts`` is the first and the last part of DFDC,
    both included, so that parts can be trained on one after another. What is not chosen is no rejection.
    """

    methods: tuple[str, ...] | None = None
    compressions: tuple[Literal["c0", "c23", "c40"], ...] | None = None
    parts: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
