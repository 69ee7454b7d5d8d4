"""Layouts: how a data set lies in a folder or under an S3 prefix. Adding one means adding a module and a line here."""

from collections.abc import Callable, Iterator

from media.errors import unknown_name
from media.layouts import flat, forged_authentic_masks, images_masks, provenance
from media.layouts.base import Blob, Entry, Rejection
from media.storage import Store

__all__ = ["LAYOUTS", "Blob", "Entry", "Rejection", "expected_place", "read_layout", "require_layout"]

_MODULES = {module.NAME: module for module in (forged_authentic_masks, images_masks, flat)}
LAYOUTS: dict[str, Callable[[Store], Iterator[Entry | Rejection]]] = {n: m.entries for n, m in _MODULES.items()}


def require_layout(name: str) -> str:
    """Return ``name`` if there is a layout of that name.

    Raises:
        SettingsError: with the closest name there is.
    """
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    return name


def expected_place(name: str) -> str:
    """Return where a layout's files lie, for messages."""
    return str(_MODULES[require_layout(name)].EXPECTED)


def read_layout(name: str, store: Store, *, ignore: frozenset[str] = frozenset()) -> Iterator[Entry | Rejection]:
    """Stream what a layout holds; nothing that lies there goes without an entry or a rejection.

    Args:
        name: of the layout.
        store: rooted where the layout begins.
        ignore: keys that belong to no picture and are no mistake either, such as a file of splits.

    Yields:
        Entries in no promised order, each name once, and rejections.

    Raises:
        SettingsError: when there is no such layout.
        StorageError: when the store cannot be listed.
    """
    known = provenance.Provenance()
    yield from known.read(store)
    for item in LAYOUTS[require_layout(name)](store):
        if isinstance(item, Entry):
            yield known.applied(item)
        elif item.name not in ignore and item.name not in provenance.SIDECARS:
            yield item
    yield from known.without_picture()
