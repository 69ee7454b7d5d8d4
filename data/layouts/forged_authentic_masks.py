"""``forged-authentic-masks``: two folders of pictures, and masks by id.

    train_images/forged/<id>.png   train_images/authentic/<id>.png   train_masks/<id>.npy

A forged and an authentic picture of the same id are twins: they come into one group.
"""

from collections.abc import Iterator

from core.storage import ObjectInfo, Store
from data.entries.entry import Entry, Rejection
from data.entries.stills import PICTURES
from data.layout import Layout, LayoutOptions
from data.listing import (
    AUTHENTIC,
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

_EXPECTED = "train_images/forged/, train_images/authentic/ and train_masks/"

_PICTURES = "train_images/"
_MASKS = "train_masks/"


def _entries(store: Store, _: LayoutOptions) -> Iterator[Entry | Rejection]:
    """Yield every entry of the layout at the store's root, and a rejection for everything else that lies there."""
    return entries_with_masks(store, _MASKS, _entry)


def _entry(info: ObjectInfo, masks: Masks) -> Entry | Rejection:
    name = info.key.removeprefix(_PICTURES)  # forged/<id>.png
    method, _, file = name.partition("/")
    if name == info.key or method not in (FORGED, AUTHENTIC) or not file:
        return unexpected_place(info.key, _EXPECTED)
    if extension(file) not in PICTURE_EXTENSIONS:
        return unknown_extension(info.key, "picture")
    links = (f"id:{stem(file)}",)
    if method == AUTHENTIC:
        return Entry(name, blob(info), None, 0, AUTHENTIC, links)
    mask = masks.of(info, stem(file))
    return mask if isinstance(mask, Rejection) else Entry(name, blob(info), mask, 1, FORGED, links)


LAYOUT = Layout("forged-authentic-masks", _EXPECTED, _entries, PICTURES, PICTURE_CLASSES)
