"""The settings of a publication."""

from typing import Any, Literal

from pydantic import Field

from core.settings import Settings


class PublishRecipe(Settings):
    """Recipe of the publish step."""

    gate: dict[str, Any] = {}
    """What the release must reach: keys of the gate of the bundle's task."""
    on_refusal: Literal["fail", "record"] = "fail"
    """``fail`` makes a refused release an error; ``record`` only writes the decision."""
    attempts: int = Field(default=5, ge=1)
    """How often to check and move the pointer again when another publication moved it first."""
