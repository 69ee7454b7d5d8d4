"""Layouts: how a data set lies in a folder or under an S3 prefix. Adding one means adding a module and a line here."""

from collections.abc import Iterator

from core.errors import SettingsError, unknown_name
from core.storage import Store
from data.entries.entry import Blob, Entry, Rejection
from data.layouts import (
    celeb_df,
    dfdc,
    faceforensics,
    flat,
    forged_authentic_masks,
    images_masks,
    provenance,
    real_fake_frames,
    real_fake_videos,
)
from data.layouts.base import Layout
from data.layouts.options import LayoutOptions

__all__ = [
    "LAYOUTS",
    "Blob",
    "Entry",
    "Layout",
    "LayoutOptions",
    "Rejection",
    "check_options",
    "read_layout",
    "require_layout",
]

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: module.LAYOUT
    for module in (
        forged_authentic_masks,
        images_masks,
        flat,
        faceforensics,
        celeb_df,
        dfdc,
        real_fake_videos,
        real_fake_frames,
    )
}


def require_layout(name: str) -> Layout:
    """Return the layout of that name.

    Raises:
        SettingsError: with the closest name there is.
    """
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    return LAYOUTS[name]


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
    layout, chosen = require_layout(name), options or LayoutOptions()
    check_options(layout, chosen)
    known = provenance.Provenance()
    yield from known.read(store)
    for item in layout.entries(store, chosen):
        if isinstance(item, Entry):
            yield known.applied(item)
        elif item.name not in ignore and item.name not in provenance.SIDECARS:
            yield item
    yield from known.without_picture()
