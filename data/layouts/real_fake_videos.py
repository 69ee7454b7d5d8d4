"""``real-fake-videos``: two folders of clips.

    real/<name>.mp4   fake/<name>.mp4   (or manipulated/)

Below each there may be folders, of which the first names the method of a manipulated clip. A real and a manipulated
clip of the same name are twins: they come into one group.
"""

from collections.abc import Iterator

from core.storage import Store
from data.entries.clips import CLIPS
from data.entries.entry import Entry, Rejection
from data.layout import Layout, LayoutOptions
from data.listing import (
    MANIPULATED,
    REAL,
    REAL_CLASSES,
    blob,
    listing,
    stem,
    unexpected_place,
    unknown_extension,
)
from media.video import is_video_name

FAKE_FOLDERS = ("fake", MANIPULATED)
_EXPECTED = "real/, and fake/ or manipulated/"


def _entries(store: Store, _: LayoutOptions) -> Iterator[Entry | Rejection]:
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
            continue
        folder, slash, file = info.key.partition("/")
        if not slash or folder not in (REAL, *FAKE_FOLDERS):
            yield unexpected_place(info.key, _EXPECTED)
        elif not is_video_name(file):
            yield unknown_extension(info.key, "clip")
        elif folder == REAL:
            yield Entry(info.key, blob(info), None, 0, REAL, (f"id:{stem(file.rpartition('/')[2])}",))
        else:
            method = file.partition("/")[0] if "/" in file else MANIPULATED
            yield Entry(info.key, blob(info), None, 1, method, (f"id:{stem(file.rpartition('/')[2])}",))


LAYOUT = Layout("real-fake-videos", _EXPECTED, _entries, CLIPS, REAL_CLASSES)
