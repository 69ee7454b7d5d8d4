"""``faceforensics``: FaceForensics++ as its download script lays it out (Rössler et al. 2019).

    original_sequences/<youtube|actors>/<c0|raw|c23|c40>/videos/<id>.mp4
    manipulated_sequences/<method>/<c0|raw|c23|c40>/videos/<target>_<source>.mp4
    {train,val,test}.json, splits/{train,val,test}.json   (the official splits, if given: lists of pairs of ids)

Clips that share an id come into one group. Where the official splits are given, a clip that none of them names is
left out. The masks that come with the manipulations are not used.
"""

import json
import re
from collections.abc import Iterator

from core.errors import SettingsError
from core.storage import NotFoundError, ObjectInfo, Store
from data.entries.clips import CLIPS
from data.entries.entry import Blob, Entry, Rejection
from data.layout import Layout, LayoutOptions
from data.listing import REAL, REAL_CLASSES, blob, listing, stem, unexpected_place, unknown_extension
from media.video import is_video_name

_EXPECTED = "original_sequences/<set>/<c0|raw|c23|c40>/videos/ and manipulated_sequences/<method>/<...>/videos/"
_PLACE = re.compile(r"(original|manipulated)_sequences/([^/]+)/(c0|raw|c23|c40|masks)/(?:videos/)?([^/]+)")
_SPLIT_FILES = tuple(f"{folder}{split}.json" for folder in ("", "splits/") for split in ("train", "val", "test"))
# The clips of actors (DeepFakeDetection) have ids of their own, which must not meet those of youtube.
_ACTORS = ("actors", "DeepFakeDetection")


def _entries(store: Store, options: LayoutOptions) -> Iterator[Entry | Rejection]:
    splits = _official(store)
    originals = {
        info.key: blob(info)
        for info in listing(store, "original_sequences/")
        if not isinstance(info, Rejection) and is_video_name(info.key)
    }
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
        elif info.key not in _SPLIT_FILES:
            item = _entry(info, options, splits, originals)
            if item is not None:
                yield item


def _entry(
    info: ObjectInfo, options: LayoutOptions, splits: dict[str, str], originals: dict[str, Blob]
) -> Entry | Rejection | None:
    """Return what an object is; None where it is not chosen."""
    place = _PLACE.fullmatch(info.key)
    if place is None:
        return unexpected_place(info.key, _EXPECTED)
    kind, source, folder, file = place.groups()
    manipulated = kind == "manipulated"
    compression = "c0" if folder == "raw" else folder
    if folder == "masks" or (manipulated and options.methods is not None and source not in options.methods):
        return None
    if options.compressions is not None and compression not in options.compressions:
        return None
    if "/videos/" not in info.key:
        return unexpected_place(info.key, _EXPECTED)
    if not is_video_name(file):
        return unknown_extension(info.key, "clip")
    ids = _ids(stem(file), source)
    return Entry(
        name=info.key,
        file=blob(info),
        mask=None,
        label=int(manipulated),
        method=source if manipulated else REAL,
        links=tuple(f"id:{one}" for one in ids),
        compression=compression,
        split=splits.get(ids[0], ""),
        original=originals.get(_original_key(source, folder, file)) if manipulated else None,
    )


def _ids(name: str, source: str) -> tuple[str, ...]:
    """Return the ids in a clip's name: ``519`` or ``519_515``; of actors ``01__scene`` or ``01_02__scene__X``."""
    if source in _ACTORS:
        return tuple(f"actor{one}" for one in name.partition("__")[0].split("_"))
    return tuple(name.split("_"))


def _original_key(source: str, folder: str, file: str) -> str:
    """Return where the clip lies whose face was replaced in a manipulated one."""
    name, _, ending = file.rpartition(".")
    if source in _ACTORS:  # 01_02__scene__X was made from 01__scene
        people, _, scene = name.partition("__")
        return f"original_sequences/actors/{folder}/videos/{people.split('_')[0]}__{scene.rpartition('__')[0]}.{ending}"
    return f"original_sequences/youtube/{folder}/videos/{name.split('_')[0]}.{ending}"


def _official(store: Store) -> dict[str, str]:
    """Return the official split of each id; empty where no file of splits is given."""
    splits: dict[str, str] = {}
    for key in _SPLIT_FILES:
        split = stem(key).rpartition("/")[2]
        try:
            pairs = json.loads(store.read(key))
            ids = [one for pair in pairs for one in ([pair] if isinstance(pair, str) else pair)]
        except NotFoundError:
            continue
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{store.uri}/{key} is no list of pairs of ids: {error}") from error
        for one in ids:
            if not isinstance(one, str):
                raise SettingsError(f"{store.uri}/{key} is no list of pairs of ids: it holds {one!r}")
            if splits.setdefault(one, split) != split:
                raise SettingsError(f"{store.uri}: id {one} is in the splits {splits[one]} and {split}")
    return splits


LAYOUT = Layout("faceforensics", _EXPECTED, _entries, CLIPS, REAL_CLASSES, frozenset({"methods", "compressions"}))
