"""Typed, frozen settings: the base of every recipe and specification, and the one way to read them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import SettingsError


class Settings(BaseModel):
    """A frozen model that refuses unknown keys."""

    # The text below a field is its description: in the JSON Schema that editors complete recipes with, and in errors.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no white space; equal settings give equal bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


S = TypeVar("S", bound=Settings)


def problems(model: type[Settings], error: ValidationError) -> list[str]:
    """Return a line for each wrong key: its name, its value and what was allowed."""
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(root)"
        value = "" if problem["type"] == "missing" else f" = {problem['input']!r}"
        allowed = problem["msg"]
        if problem["type"] == "extra_forbidden":
            owner = _settings_at(model, problem["loc"][:-1])
            allowed = f"unknown key; allowed: {', '.join(sorted(owner.model_fields))}" if owner else "unknown key"
        lines.append(f"{key}{value}: {allowed}")
    return lines


def _settings_at(model: type[Settings], location: tuple[int | str, ...]) -> type[Settings] | None:
    """Return the settings class that a key of ``model``, or one inside it, holds; None where several could be meant."""
    found: Any = model
    for part in location:
        if _is_settings(found) and part in found.model_fields:
            found = _without_none(found.model_fields[str(part)].annotation)
        elif get_origin(found) is dict:
            found = _without_none(get_args(found)[1])
        elif get_origin(found) in (list, tuple):
            found = get_args(found)[0]
        else:
            return None
    return found if _is_settings(found) else None


def _without_none(annotation: Any) -> Any:
    """Return the one alternative of ``X | None`` that is not None, any other annotation as it is."""
    alternatives = [one for one in get_args(annotation) if one is not type(None)]
    return alternatives[0] if len(alternatives) == 1 and type(None) in get_args(annotation) else annotation


def _is_settings(annotation: Any) -> TypeGuard[type[Settings]]:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def validate(model: type[S], data: Mapping[str, Any], origin: str) -> S:
    """Validate a mapping.

    Args:
        model: the settings class.
        data: keys and values.
        origin: where the data came from, for the error.

    Raises:
        SettingsError: naming each wrong key, its value and what was allowed.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = problems(model, error)
        message = "\n".join([f"{origin}: {len(lines)} setting(s) are wrong", *(f"  {line}" for line in lines)])
        raise SettingsError(message) from None


def parse_mapping(text: str, origin: str) -> dict[str, Any]:
    """Read YAML (and so JSON) text that is a mapping, whatever its keys.

    Raises:
        SettingsError: when it is none.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{origin}: not readable as YAML: {error}") from None
    if not isinstance(data, dict):
        raise SettingsError(f"{origin}: expected a mapping of keys to values, got {type(data).__name__}")
    return data


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that is a mapping, whatever its keys.

    Raises:
        SettingsError: when the file is absent, unreadable or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_mapping(text, str(path))


def parse(model: type[S], text: str, origin: str) -> S:
    """Read YAML (and so JSON) text into ``model``.

    Raises:
        SettingsError: when the text is no mapping or does not validate.
    """
    return validate(model, parse_mapping(text, origin), origin)


def load(model: type[S], path: Path) -> S:
    """Read a YAML or JSON file into ``model``.

    Raises:
        SettingsError: when the file is absent, unreadable or does not validate.
    """
    return validate(model, load_mapping(path), str(path))


def merge(base: Mapping[str, Any], *overlays: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with every overlay laid over it, mapping by mapping; lists and scalars are replaced."""
    result = dict(base)
    for overlay in overlays:
        for key, value in overlay.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result
