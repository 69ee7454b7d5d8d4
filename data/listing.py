"""What layouts share: listing what lies in a store, telling files by their names, and finding masks."""

import json
import unicodedata
from collections.abc import Callable, Iterator

from core.disktable import DiskTable
from core.storage import ObjectInfo, Store
from data.entries.entry import Blob, Entry, Rejection
from media.video import VIDEO_EXTENSIONS

PICTURE_EXTENSIONS = frozenset({"png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp"})
MASK_EXTENSIONS = PICTURE_EXTENSIONS | {"npy"}

AUTHENTIC = "authentic"
FORGED = "forged"
REAL = "real"
MANIPULATED = "manipulated"
PICTURE_CLASSES = (AUTHENTIC, FORGED)
REAL_CLASSES = (REAL, MANIPULATED)


def listing(store: Store, prefix: str = "") -> Iterator[ObjectInfo | Rejection]:
    """List objects, with a rejection in the place of each whose name later steps could not carry safely."""
    for info in store.list(prefix):
        problem = _name_problem(info.key)
        if problem:
            yield Rejection(printable(info.key), "bad-name", problem)
        else:
            yield info


def printable(key: str) -> str:
    """Return a key with lone surrogates, which stand for bytes that are not UTF-8, written as escapes."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def _name_problem(key: str) -> str:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not valid UTF-8; rename the file"
    # Zl and Zp are the line and paragraph separators, at which some readers of plain lists break lines.
    if not key.isprintable() and any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in key):
        return "the name holds control characters; rename the file"
    if any(part in ("", ".", "..") for part in key.split("/")):
        return "the key has empty, '.' or '..' parts; copy the object to another key"
    return ""


def blob(info: ObjectInfo) -> Blob:
    """Return the version that a listing showed."""
    return Blob(info.key, info.size, info.etag)


def extension(key: str) -> str:
    """Return the extension in lower case and without its dot; '' where there is none."""
    name = key.rpartition("/")[2]
    stem, _, last = name.rpartition(".")
    return last.lower() if stem else ""


def stem(key: str) -> str:
    """Return the key without its extension; folders are kept."""
    return key.rpartition(".")[0] if extension(key) else key


def unknown_extension(key: str, kind: str) -> Rejection:
    """Return the rejection of a file whose extension says that it is no ``kind``."""
    known = {"mask": MASK_EXTENSIONS, "picture": PICTURE_EXTENSIONS, "clip": VIDEO_EXTENSIONS}[kind]
    found = f"extension {extension(key)!r}" if extension(key) else "no extension"
    return Rejection(key, "unknown-extension", f"{found} is none of a {kind}: {', '.join(sorted(known))}")


def unexpected_place(key: str, expected: str) -> Rejection:
    """Return the rejection of a file that lies where the layout has nothing."""
    return Rejection(key, "unexpected-place", f"the layout has files only in {expected}")


class Masks:
    """The masks of a layout by the stem of their picture, held on disk."""

    def __init__(self) -> None:
        self._table = DiskTable()

    def read(self, store: Store, folder: str) -> Iterator[Rejection]:
        """Take in all masks under ``folder`` (with a slash at its end); yields what is none."""
        for info in listing(store, folder):
            if isinstance(info, Rejection):
                yield info
            elif extension(info.key) in MASK_EXTENSIONS:
                self._table.add(stem(info.key[len(folder) :]), json.dumps([info.key, info.size, info.etag]))
            else:
                yield unknown_extension(info.key, "mask")

    def of(self, picture: ObjectInfo, picture_stem: str) -> Blob | Rejection:
        """Return the mask of a picture, or the rejection of the picture that has none or several."""
        found = [Blob(*json.loads(value)) for value in self._table.take(picture_stem)]
        if len(found) == 1:
            return found[0]
        if not found:
            return Rejection(picture.key, "no-mask", f"there is no mask named {picture_stem}.*")
        return Rejection(
            picture.key, "ambiguous-mask", f"has several masks, keep one: {', '.join(mask.key for mask in found)}"
        )

    def without_picture(self) -> Iterator[Rejection]:
        """Yield a rejection for each mask that was never asked for."""
        for _, value in self._table.untaken():
            yield Rejection(json.loads(value)[0], "mask-without-picture", "there is no picture of the same name")


def entries_with_masks(
    store: Store, folder: str, entry: Callable[[ObjectInfo, Masks], Entry | Rejection]
) -> Iterator[Entry | Rejection]:
    """Yield what ``entry`` makes of every object outside the masks' folder, and a rejection for what is none.

    Args:
        store: the layout's root.
        folder: where the masks lie, with a slash at its end.
        entry: makes an entry of a listed object, or says why it cannot.
    """
    masks = Masks()
    yield from masks.read(store, folder)
    for info in listing(store):
        if isinstance(info, Rejection):
            yield info
        elif not info.key.startswith(folder):
            yield entry(info, masks)
    yield from masks.without_picture()
