"""``dfdc``: the Deepfake Detection Challenge data set (Dolhansky et al. 2020), in parts.

    dfdc_train_part_<n>/<name>.mp4   dfdc_train_part_<n>/metadata.json

``metadata.json`` says of each clip of its folder whether it is ``REAL`` or ``FAKE``, and of a ``FAKE`` one its
``original``. A clip and what was made from it come into one group. Real copies of the set are not complete: what is
listed but not there, and what is there but not listed, is recorded.
"""

import json
import re
from collections.abc import Iterator

from core.disktable import DiskTable
from core.storage import ObjectInfo, Store
from data.entries.clips import CLIPS
from data.entries.entry import Blob, Entry, Rejection
from data.layout import Layout, LayoutOptions
from data.listing import REAL, REAL_CLASSES, blob, listing, printable, unexpected_place, unknown_extension
from media.video import is_video_name

_METADATA = "metadata.json"
_EXPECTED = "dfdc_train_part_<n>/, each with its metadata.json"
_LABELS = {"REAL": 0, "FAKE": 1}
_METHOD = "dfdc"  # the set does not say by which of its methods a clip was made


def _entries(store: Store, options: LayoutOptions) -> Iterator[Entry | Rejection]:
    metadata, clips = DiskTable(), DiskTable()
    for info in listing(store):
        if isinstance(info, Rejection):
            continue
        if not _is_chosen(info.key, options):
            continue
        if _name(info.key) == _METADATA:
            yield from _read_metadata(store, info.key, metadata)
        else:
            clips.add(info.key, json.dumps([info.key, info.size, info.etag]))
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
        elif _is_chosen(info.key, options) and _name(info.key) != _METADATA:
            yield _entry(info, metadata, clips)
    for key, _ in metadata.untaken():
        yield Rejection(key, "listed-absent", f"{_folder(key)}{_METADATA} names it, but it is not there")


def _is_chosen(key: str, options: LayoutOptions) -> bool:
    if options.parts is None:
        return True
    part = re.search(r"(\d+)/$", _folder(key))
    return part is not None and options.parts[0] <= int(part[1]) <= options.parts[1]


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _folder(key: str) -> str:
    return key[: len(key) - len(_name(key))]


def _read_metadata(store: Store, key: str, metadata: DiskTable) -> Iterator[Rejection]:
    """Take in label and original of each clip that a part lists; yields what cannot be understood."""
    try:
        document = json.loads(store.read(key))
        items = list(document.items())
    except (ValueError, AttributeError) as error:
        yield Rejection(key, "bad-metadata", f"is no mapping of clips to what is known of them: {error}")
        return
    for name, known in items:
        try:
            label, original = _LABELS[known["label"]], known.get("original") or ""
            if "/" in name or not isinstance(original, str) or printable(name + original) != name + original:
                raise ValueError(f"{name!r} or {original!r} is no file name")
            metadata.add(f"{_folder(key)}{name}", json.dumps([label, original]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            yield Rejection(f"{key}: {printable(name)}", "bad-metadata", f"cannot be understood: {error!r}")


def _entry(info: ObjectInfo, metadata: DiskTable, clips: DiskTable) -> Entry | Rejection:
    if "/" not in info.key:
        return unexpected_place(info.key, _EXPECTED)
    if not is_video_name(info.key):
        return unknown_extension(info.key, "clip")
    known = metadata.take(info.key)
    if not known:
        return Rejection(info.key, "no-label", f"no {_METADATA} beside it says whether it is real")
    label, original = json.loads(known[0])
    found = clips.take(f"{_folder(info.key)}{original}") if label and original else []
    return Entry(
        name=info.key,
        file=blob(info),
        mask=None,
        label=label,
        method=_METHOD if label else REAL,
        links=(f"clip:{original if label and original else _name(info.key)}",),
        original=Blob(*json.loads(found[0])) if found else None,
    )


LAYOUT = Layout("dfdc", _EXPECTED, _entries, CLIPS, REAL_CLASSES, frozenset({"parts"}))
