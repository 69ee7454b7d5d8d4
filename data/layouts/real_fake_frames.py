"""``real-fake-frames``: crops of faces that were cut out of clips already.

    real/<id>_<k>.png   manipulated/<target>_<source>_<k>.png   (or fake/)

``k`` is the number of the frame in its clip. Crops of one clip are one medium; clips that share an id come into one
group.
"""

from collections.abc import Iterator

from core.disktable import DiskTable
from core.storage import ObjectInfo, Store
from data.entries.crops import CROPS
from data.entries.entry import Entry, Rejection
from data.layout import Layout, LayoutOptions
from data.layouts.real_fake_videos import FAKE_FOLDERS
from data.listing import (
    MANIPULATED,
    PICTURE_EXTENSIONS,
    REAL,
    REAL_CLASSES,
    blob,
    extension,
    listing,
    stem,
    unexpected_place,
    unknown_extension,
)

_EXPECTED = "real/, and fake/ or manipulated/"
_DIGITS = 9  # of a frame's number: it is stored in 32 bits


def _entries(store: Store, _: LayoutOptions) -> Iterator[Entry | Rejection]:
    seen = DiskTable()
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
            continue
        item = _entry(info)
        if isinstance(item, Entry):
            place = f"{item.medium}\n{item.frame}"
            if other := seen.take(place):
                item = Rejection(info.key, "duplicate-frame", f"is the same frame of the same clip as {other[0]}")
            else:
                seen.add(place, info.key)
        yield item


def _entry(info: ObjectInfo) -> Entry | Rejection:
    folder, _, file = info.key.partition("/")
    if not file or folder not in (REAL, *FAKE_FOLDERS):
        return unexpected_place(info.key, _EXPECTED)
    if extension(file) not in PICTURE_EXTENSIONS:
        return unknown_extension(info.key, "picture")
    clip, _, number = stem(file).rpartition("_")
    if not (clip and number.isascii() and number.isdigit() and len(number) <= _DIGITS):
        clip, number = stem(file), "0"
    name = clip.rpartition("/")[2]
    label = int(folder != REAL)
    return Entry(
        name=info.key,
        file=blob(info),
        mask=None,
        label=label,
        method=MANIPULATED if label else REAL,
        links=_ids(name) if label else (f"id:{name}",),
        medium=f"{folder}/{clip}",
        frame=int(number),
    )


def _ids(name: str) -> tuple[str, ...]:
    """Return links to the target and the source of ``<target>_<source>``, wherever in the name the one may end."""
    parts = name.split("_")
    cuts = range(1, len(parts))
    ids = {"_".join(half) for cut in cuts for half in (parts[:cut], parts[cut:])} or {name}
    return tuple(f"id:{one}" for one in sorted(ids))


LAYOUT = Layout("real-fake-frames", _EXPECTED, _entries, CROPS, REAL_CLASSES)
