"""Objects that are found by looking at the modules of a package: adding one adds a file or a folder, nothing else.

``VERIFRAME_EXTENSIONS`` names further folders (separated like ``PATH``) that are laid out as this project is: what lies
in ``<folder>/models/mine/__init__.py`` is a family called ``mine``. Processes that are started inherit it.
"""

import os
import pkgutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from core.errors import unknown_name

EXTENSIONS_VARIABLE = "VERIFRAME_EXTENSIONS"
# What an extension may add to. Its other folders are its own business: one may be called as a library is.
ROOMS = ("core", "media", "data", "bundle", "models", "judging", "tasks", "components", "pipelines", "serving")

T = TypeVar("T")


class Registry(Generic[T]):
    """The modules of one package that each expose an object.

    Args:
        package: dotted name; its direct modules or sub-packages are looked at, but none before it is asked for.
        attribute: what each exposes the object as.
        kind: what the objects are called in errors.
        folders: whether sub-packages count, or modules that are files.
        dashes: whether names have dashes where those of modules have underscores.
    """

    def __init__(self, package: str, attribute: str, kind: str, *, folders: bool, dashes: bool = False) -> None:
        self._package = package
        self._attribute = attribute
        self._kind = kind
        self._folders = folders
        self._dashes = dashes

    def names(self) -> list[str]:
        """Return the names of all objects, sorted; imports none of them."""
        found = pkgutil.iter_modules(self._search_path())
        modules = {module.name for module in found if module.ispkg == self._folders}
        return sorted(name.replace("_", "-") if self._dashes else name for name in modules)

    def get(self, name: str) -> T:
        """Return the object called ``name``.

        Raises:
            SettingsError: naming the closest name when there is none of this name.
        """
        names = self.names()
        if name not in names:
            raise unknown_name(self._kind, name, names)
        module = name.replace("-", "_") if self._dashes else name
        found: T = getattr(import_module(f"{self._package}.{module}"), self._attribute)
        return found

    def _search_path(self) -> list[str]:
        """Return the package's own folder and those of the extensions."""
        folders = [Path(folder) for folder in os.environ.get(EXTENSIONS_VARIABLE, "").split(os.pathsep) if folder]
        for folder in folders:
            for room in ROOMS:  # what lies there imports its own modules by their names
                if find_spec(room) is not None:  # an image holds the rooms that it needs
                    _extend(room, folder)
        own = str(Path(str(import_module(self._package).__file__)).parent)
        return [own, *(str(found) for folder in folders if (found := _extend(self._package, folder)) is not None)]


def _extend(package: str, folder: Path) -> Path | None:
    """Let a package be imported from a folder of an extension too; return where, None where it has nothing of it."""
    inside = folder.joinpath(*package.split("."))
    if not inside.is_dir():
        return None
    module = import_module(package)
    if str(inside) not in list(module.__path__):
        module.__path__ = [*module.__path__, str(inside)]
    return inside
