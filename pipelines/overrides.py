"""Keys of a recipe given on the command line: ``stages.dfdc.train.optimizer.lr=1e-5``."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from core.errors import SettingsError, unknown_name
from core.settings import merge

# What the recipe names itself: a key of another name would silently add one.
NAMED = {"datasets": "data set", "stages": "stage", "members": "member"}
# YAML 1.1 takes a number with an exponent but without a point for text.
NUMBER = re.compile(r"[-+]?\d+[eE][-+]?\d+")


def override(document: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return a recipe's document with keys overridden.

    Args:
        document: as read from YAML.
        settings: ``<dotted key>=<value>`` each, the value in YAML; later ones count before earlier ones.

    Raises:
        SettingsError: for text of another form, a data set, stage or member that the recipe has not, or a key below
            one that holds a plain value. Whether a key exists is checked with the rest of the recipe.
    """
    result = dict(document)
    for text in settings:
        key, separator, value = text.partition("=")
        path = key.strip().split(".")
        if not separator or not all(path):
            raise SettingsError(f"--set {text!r}: expected KEY=VALUE, such as stages.v4.train.epochs=3")
        _check(result, path, text)
        overlay: Any = _parsed(value, text)
        for name in reversed(path):
            overlay = {name: overlay}
        result = merge(result, overlay)
    return result


def _check(document: Mapping[str, Any], path: Sequence[str], text: str) -> None:
    names = document.get(path[0])
    if path[0] in NAMED and len(path) > 1 and isinstance(names, Mapping) and path[1] not in names:
        raise SettingsError(f"--set {text}: {unknown_name(NAMED[path[0]], path[1], names)}")
    inner: Any = document
    for depth, name in enumerate(path[:-1], start=1):
        inner = inner.get(name)
        if inner is None:  # absent, or null, which a mapping takes the place of
            return
        if not isinstance(inner, Mapping):
            raise SettingsError(f"--set {text}: {'.'.join(path[:depth])} = {inner!r} holds no keys")


def _parsed(value: str, text: str) -> Any:
    if NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {text}: the value is not readable as YAML: {error}") from None
