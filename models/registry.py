"""The families that exist, found by looking at the sub-packages of ``models``."""

import pkgutil
from importlib import import_module
from pathlib import Path

from core.errors import unknown_name
from models.family import Family


def family_names() -> list[str]:
    """Return the names of all families, sorted; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg)


def get_family(name: str) -> Family:
    """Return the family called ``name``.

    Raises:
        SettingsError: naming the closest family when there is none of this name.
    """
    names = family_names()
    if name not in names:
        raise unknown_name("model family", name, names)
    family = import_module(f"models.{name}").FAMILY
    assert isinstance(family, Family)  # noqa: S101 - a sub-package without FAMILY is a mistake of ours
    return family
