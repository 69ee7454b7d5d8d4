"""What a layout is: how a data set lies in a folder or under an S3 prefix.

A layout is a module of ``data/layouts`` that exposes it as ``LAYOUT``. Its name is the module's, with dashes for
underscores.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from core.errors import SettingsError
from core.registry import Registry
from core.settings import Settings
from core.storage import Store
from data.entries.entry import Entry, Rejection
from data.entries.kind import EntryKind
from data.provenance import SIDECARS, Provenance


class LayoutOptions(Settings):
    """What is taken of a data set; null takes all there is. What is not chosen is no rejection."""

    methods: tuple[str, ...] | None = None
    """Of FaceForensics++: methods of manipulation."""
    compressions: tuple[Literal["c0", "c23", "c40"], ...] | None = None
    """Of FaceForensics++: compressions."""
    parts: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    """Of DFDC: the first and the last part, both included, so that parts can be trained on one after another."""


@dataclass(frozen=True)
class Layout:
    """How a data set lies.

    Attributes:
        name: what recipes call it.
        expected: where its files lie, for messages.
        entries: streams all that lies under a store's root: each name once, and a rejection for each file that is none.
        kind: what its entries are, and how they become samples.
        classes: what the labels 0, 1 and so on are called, unless a recipe says otherwise.
        options: which of ``LayoutOptions`` it knows.
    """

    name: str
    expected: str
    entries: Callable[[Store, LayoutOptions], Iterator[Entry | Rejection]]
    kind: EntryKind
    classes: tuple[str, ...]
    options: frozenset[str] = frozenset()


LAYOUTS: Registry[Layout] = Registry("data.layouts", "LAYOUT", "layout", folders=False, dashes=True)


def check_options(layout: Layout, options: LayoutOptions) -> None:
    """Check that a layout knows the options that are given.

    Raises:
        SettingsError: naming those it does not know.
    """
    given = {name for name, value in options if value is not None}
    if given - layout.options:
        known = ", ".join(sorted(layout.options)) or "none"
        raise SettingsError(
            f"layout {layout.name!r} knows no option {', '.join(sorted(given - layout.options))}; it knows: {known}"
        )


def read_layout(
    name: str, store: Store, options: LayoutOptions | None = None, *, ignore: frozenset[str] = frozenset()
) -> Iterator[Entry | Rejection]:
    """Stream what a layout holds; nothing that is chosen and lies there goes without an entry or a rejection.

    Args:
        name: of the layout.
        store: rooted where the layout begins.
        options: what is taken; all where left out.
        ignore: keys that belong to no medium and are no mistake either, such as a file of splits.

    Yields:
        Entries in no promised order, each name once, and rejections.

    Raises:
        SettingsError: when there is no such layout, it does not know an option, or its official splits cannot be
            understood.
        StorageError: when the store cannot be listed.
    """
    layout, chosen = LAYOUTS.get(name), options or LayoutOptions()
    check_options(layout, chosen)
    known = Provenance()
    yield from known.read(store)
    for item in layout.entries(store, chosen):
        if isinstance(item, Entry):
            yield known.applied(item)
        elif item.name not in ignore and item.name not in SIDECARS:
            yield item
    yield from known.without_picture()
