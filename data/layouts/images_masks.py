"""``images-masks``: pictures and masks in two folders, with equal stems.

    images/<name>.{png,jpg,tif,webp,bmp}   masks/<name>.{png,...,npy}

The mask decides what a picture is: one with nothing in it says that the picture is authentic. A picture without a
mask is left out, since a missing file must not make a forgery authentic. Below ``images/`` there may be folders, of
which the first names the method; ``masks/`` then has the same.
"""

from collections.abc import Iterator

from core.storage import ObjectInfo, Store
from data.entries.entry import Entry, Rejection
from data.entries.stills import PICTURES
from data.layout import Layout, LayoutOptions
from data.listing import (
    FORGED,
    PICTURE_CLASSES,
    PICTURE_EXTENSIONS,
    Masks,
    blob,
    entries_with_masks,
    extension,
    stem,
    unexpected_place,
    unknown_extension,
)

_EXPECTED = "images/ and masks/"

_PICTURES = "images/"
_MASKS = "masks/"


def _entries(store: Store, _: LayoutOptions) -> Iterator[Entry | Rejection]:
    """Yield every entry of the layout at the store's root, and a rejection for everything else that lies there."""
    return entries_with_masks(store, _MASKS, _entry)


def _entry(info: ObjectInfo, masks: Masks) -> Entry | Rejection:
    file = info.key.removeprefix(_PICTURES)
    if file == info.key:
        return unexpected_place(info.key, _EXPECTED)
    if extension(file) not in PICTURE_EXTENSIONS:
        return unknown_extension(info.key, "picture")
    mask = masks.of(info, stem(file))
    if isinstance(mask, Rejection):
        return mask
    method = file.partition("/")[0] if "/" in file else FORGED
    return Entry(info.key, blob(info), mask, None, method, (f"id:{stem(file)}",))


LAYOUT = Layout("images-masks", _EXPECTED, _entries, PICTURES, PICTURE_CLASSES)
