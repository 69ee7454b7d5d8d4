"""``celeb-df``: Celeb-DF v2 (Li et al. 2020).

    Celeb-real/id0_0000.mp4   YouTube-real/00000.mp4   Celeb-synthesis/id0_id1_0000.mp4   (target, source, scene)
    List_of_testing_videos.txt   (``1 Celeb-real/id0_0000.mp4`` a line: 1 real, 0 manipulated)

Clips that share an id come into one group. The listed clips are the official test split; the rest is divided. As the
list joins nearly all ids, ``splits.unit`` = ``medium`` is needed to train beside it.
"""

import re
from collections.abc import Iterator

from core.storage import NotFoundError, ObjectInfo, Store
from data.entries.clips import CLIPS
from data.entries.entry import Blob, Entry, Rejection
from data.layout import Layout, LayoutOptions
from data.listing import (
    REAL,
    REAL_CLASSES,
    blob,
    listing,
    printable,
    stem,
    unexpected_place,
    unknown_extension,
)
from media.video import is_video_name

_LIST = "List_of_testing_videos.txt"
_FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
_EXPECTED = "Celeb-real/, YouTube-real/ and Celeb-synthesis/"


def _entries(store: Store, _: LayoutOptions) -> Iterator[Entry | Rejection]:
    listed: dict[str, int] = {}
    for item in _read_list(store):
        if isinstance(item, Rejection):
            yield item
        else:
            listed[item[0]] = item[1]
    originals = {info.key: blob(info) for info in listing(store, "Celeb-real/") if not isinstance(info, Rejection)}
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
        elif info.key != _LIST:
            yield _entry(info, listed.pop(info.key, None), originals)
    for key in sorted(listed):
        yield Rejection(key, "listed-absent", f"{_LIST} names it, but it is not there")


def _read_list(store: Store) -> Iterator[tuple[str, int] | Rejection]:
    try:
        text = store.read(_LIST).decode("utf-8", "replace")
    except NotFoundError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        label, _, key = line.strip().partition(" ")
        if label in ("0", "1") and key:
            yield key.strip(), 1 - int(label)
        elif line.strip():
            yield Rejection(
                f"{_LIST}:{number}", "bad-list", f"is not such as '1 Celeb-real/id0_0000.mp4': {printable(line)!r}"
            )


def _entry(info: ObjectInfo, listed: int | None, originals: dict[str, Blob]) -> Entry | Rejection:
    folder, _, file = info.key.partition("/")
    if folder not in _FOLDERS or not file or "/" in file:
        return unexpected_place(info.key, _EXPECTED)
    if not is_video_name(file):
        return unknown_extension(info.key, "clip")
    label = _FOLDERS[folder]
    if listed is not None and listed != label:
        return Rejection(info.key, "label-conflict", f"{_LIST} has the other class for it than its folder")
    ids, scene = re.findall(r"(id\d+)_", file), stem(file).rpartition("_")[2]
    return Entry(
        name=info.key,
        file=blob(info),
        mask=None,
        label=label,
        method=folder if label else REAL,
        # A clip of YouTube-real has a number of its own, of a person who is nowhere else.
        links=tuple(f"id:{one}" for one in ids) or (f"clip:{stem(info.key)}",),
        split="test" if listed is not None else "",
        original=originals.get(f"Celeb-real/{ids[0]}_{scene}.mp4") if label and ids else None,
    )


LAYOUT = Layout("celeb-df", _EXPECTED, _entries, CLIPS, REAL_CLASSES)
