"""The JSON Schema of recipes: what editors complete and check its YAML with."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from components.extract_frames.recipe import ExtractRecipe
from components.publish.recipe import PublishRecipe
from components.train.recipe import TrainRecipe
from core.settings import Settings
from models.family import FAMILIES
from pipelines.recipe import OVERLAY, PipelineRecipe
from tasks.task import TASKS

Schema = dict[str, Any]
MODE: JsonSchemaMode = "validation"
PREFIX = "keys."  # of the definitions of what overlays hold: nothing in them is required


def recipe_schema() -> Schema:
    """Return the JSON Schema of a pipeline's recipe.

    Overlays are partial, so that nothing in them is required. Keys that a family's or a task's own settings class
    checks are described by all of these, of which one must do.
    """
    families = [FAMILIES.get(name) for name in FAMILIES.names()]
    tasks = [TASKS.get(name) for name in TASKS.names()]
    unions: dict[str, list[type[Settings]]] = {
        "model": _unique(family.settings for family in families),
        "loss": _unique(family.loss_settings for family in families),
        "sampling": _unique(task.sampling for task in tasks),
        "gate": _unique(task.gate_settings for task in tasks),
        "evaluate": _unique(task.evaluate_settings for task in tasks),
        "export": _unique(task.export_settings for task in tasks),
        "sweep": _unique(task.sweep_settings for task in tasks if task.sweep_settings is not None),
    }
    steps: list[type[Settings]] = [ExtractRecipe, TrainRecipe, PublishRecipe]
    classes = [*steps, *(one for union in unions.values() for one in union)]
    references, described = models_json_schema(
        [(one, MODE) for one in _unique(classes)], ref_template=f"#/$defs/{PREFIX}{{model}}"
    )
    of = {one: reference for (one, _), reference in references.items()}
    either = {name: {"anyOf": [of[one] for one in union]} for name, union in unions.items()}
    definitions = {PREFIX + name: _partial(schema) for name, schema in described["$defs"].items()}
    training, publishing = (_definition(definitions, of[one]) for one in (TrainRecipe, PublishRecipe))
    _refine(training, {name: either[name] for name in ("model", "loss", "sampling")})
    _refine(publishing, {"gate": either["gate"]})
    overlays = {
        "ExtractKeys": of[ExtractRecipe],
        "TrainKeys": of[TrainRecipe],
        "PublishKeys": of[PublishRecipe],
        "EvaluateKeys": either["evaluate"],
        "ExportKeys": either["export"],
        "SweepKeys": either["sweep"],
    }
    recipe = _linked(PipelineRecipe.model_json_schema(mode=MODE))
    own = {"$schema": "https://json-schema.org/draft/2020-12/schema", **recipe}
    return own | {"$defs": recipe["$defs"] | overlays | definitions}


def _unique(classes: Iterable[type[Settings]]) -> list[type[Settings]]:
    return list(dict.fromkeys(classes))


def _definition(definitions: Mapping[str, Schema], reference: Mapping[str, Any]) -> Schema:
    return definitions[reference["$ref"].rpartition("/")[2]]


def _refine(schema: Schema, properties: Mapping[str, Schema]) -> None:
    """Describe keys whose class is not known before the recipe is read."""
    for name, refined in properties.items():
        schema["properties"][name] = {"description": schema["properties"][name].get("description", ""), **refined}


def _linked(schema: Any) -> Any:
    """Return a schema with a reference in the place of every mark of an overlay."""
    if isinstance(schema, list):
        return [_linked(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    linked = {name: _linked(one) for name, one in schema.items() if name != OVERLAY}
    return linked | ({"$ref": f"#/$defs/{schema[OVERLAY]}"} if OVERLAY in schema else {})


def _partial(schema: Any) -> Any:
    """Return a schema without what an overlay need not hold: required keys, and what tells a union's members."""
    if isinstance(schema, list):
        return [_partial(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may be called "required" itself; a schema's own is a list.
    kept = {name: one for name, one in schema.items() if name != "discriminator" and not _is_required(name, one)}
    return {"anyOf" if name == "oneOf" else name: _partial(one) for name, one in kept.items()}


def _is_required(name: str, value: Any) -> bool:
    return name == "required" and isinstance(value, list)
