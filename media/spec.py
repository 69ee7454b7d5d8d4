"""The preprocessing specification: what happens to pixels between a file and a network, as one versioned object."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, SerializeAsAny, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue

from core.errors import MismatchError, SettingsError
from core.settings import Settings, problems
from media.extraction import ExtractionSpec
from media.tensors import TensorSpec
from media.view import PRESENT, VIEWS, View


def _parse_view(name: str, given: object) -> View:
    """Read the settings of a view with the class of its name; errors name the keys below ``name``."""
    try:
        kind = VIEWS.get(name)
        return kind.model_validate(given)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    except ValidationError as error:
        raise ValueError("; ".join(f"{name}.{line}" for line in problems(kind, error))) from None


def _parse_views(given: object) -> dict[str, View]:
    """Read every view but those that are null, which an overlay takes away."""
    if not isinstance(given, Mapping):
        raise ValueError("must be a mapping of views by name")  # noqa: TRY004 - pydantic turns it into its own error
    views = {
        # Sorted: the order in which exported networks take their arrays must not depend on who wrote the recipe.
        name: _parse_view(name, given[name])
        for name in sorted(map(str, given))
        if given.get(name) is not None
    }
    if not views:
        raise ValueError(f"a network reads at least one view of {', '.join(VIEWS.names())}")
    return views


class _AnyView:
    """Describes the views by name in JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, _: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        properties = {
            name: {"anyOf": [handler(VIEWS.get(name).__pydantic_core_schema__), {"type": "null"}]}
            for name in VIEWS.names()
        }
        return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}


Views = Annotated[dict[str, SerializeAsAny[View]], BeforeValidator(_parse_views), _AnyView]


class InputSpec(Settings):
    """How stored samples become a network's input; a member's own, travels in its checkpoint and in the bundle."""

    views: Views = Field(min_length=1)
    """The views that the network reads, by name. A view of an overlay that is null is left out."""
    frames: int = Field(default=1, ge=1, le=256)
    """How many frames a network sees at most at one time: 1 for a network of single pictures, else the length of its
    clips."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        tiled = [name for name, view in self.views.items() if view.whole_picture]
        if tiled and self.frames > 1:
            raise ValueError(f"{', '.join(tiled)}: tiles are of single pictures, frames must be 1")
        return self

    def __hash__(self) -> int:
        """Return the hash of the canonical JSON."""
        return hash(self.to_json())

    @property
    def only(self) -> View:
        """The view of a network that reads one.

        Raises:
            SettingsError: when there are several.
        """
        if len(self.views) > 1:
            raise SettingsError(f"input.views = {', '.join(self.views)}: this network reads one view")
        return next(iter(self.views.values()))

    @property
    def mapped(self) -> str:
        """The view that masks of what is forged and maps of networks are of: the first that has any; "" for none."""
        return next((name for name, view in self.views.items() if view.mask_shape), "")

    @property
    def signature(self) -> dict[str, TensorSpec]:
        """The arrays of a batch by name, in order: each view, and after an optional one its presence mask."""
        found: dict[str, TensorSpec] = {}
        for name, view in self.views.items():
            found[name] = view.tensor
            if view.optional:
                found[name + PRESENT] = TensorSpec(datatype="BOOL")
        return found


class PreprocessingSpec(Settings):
    """What a trained network says of its input: how the samples came to be that it learned from, and what it reads."""

    version: Literal[2] = 2
    """Of this document."""
    extraction: ExtractionSpec
    """How the samples came to be."""
    input: InputSpec
    """What the network reads of them."""


def require_suitable(input_spec: InputSpec, name: str, extraction: ExtractionSpec, origin: str) -> None:
    """Check that samples show what a network's views are cut from.

    Args:
        input_spec: of the network.
        name: of the network, for the error.
        extraction: how the samples came to be.
        origin: where the samples are, for the error.

    Raises:
        MismatchError: naming both sides and the view.
    """
    found = [view.require(extraction) for view in input_spec.views.values()]
    if any(found):
        raise MismatchError(f"{name} cannot read {origin}: {'; '.join(filter(None, found))}")
