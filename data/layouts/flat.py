"""``flat``: any folder of pictures, all authentic; folders in it are walked too."""

from collections.abc import Iterator

from core.storage import Store
from data.entries.entry import Entry, Rejection
from data.entries.stills import PICTURES
from data.layout import Layout, LayoutOptions
from data.listing import (
    AUTHENTIC,
    PICTURE_CLASSES,
    PICTURE_EXTENSIONS,
    blob,
    extension,
    listing,
    unknown_extension,
)


def _entries(store: Store, _: LayoutOptions) -> Iterator[Entry | Rejection]:
    """Yield an entry for every picture under the store's root, and a rejection for everything else that lies there."""
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
        elif extension(info.key) in PICTURE_EXTENSIONS:
            yield Entry(f"{AUTHENTIC}/{info.key}", blob(info), None, 0, AUTHENTIC)
        else:
            yield unknown_extension(info.key, "picture")


LAYOUT = Layout("flat", "any folder", _entries, PICTURES, PICTURE_CLASSES)
