"""``provenance.jsonl``: a file beside a layout that says which photographs each picture was made from.

One line a picture: ``{"image": "train_images/forged/x.png", "sources": ["photo1", ...], "recipe": {...}}``. Pictures
that share a source come into one group; ``recipe.kind`` names the method of a forged one.
"""

import dataclasses
import json
from collections.abc import Iterator

from core.disktable import DiskTable
from core.storage import NotFoundError, Store
from data.entries.entry import Entry, Rejection
from data.labels import AUTHENTIC

FILE = "provenance.jsonl"
# What the forging command leaves beside the layout; none of it is a picture.
SIDECARS = frozenset({FILE, "forging.json", "rejected.jsonl"})


class Provenance:
    """The lines of ``provenance.jsonl`` by picture, held on disk; none where there is no such file."""

    def __init__(self) -> None:
        self._table = DiskTable()

    def read(self, store: Store) -> Iterator[Rejection]:
        """Take in the file at the store's root; yields the lines that cannot be understood."""
        try:
            with store.open(FILE) as stream:
                for number, line in enumerate(stream, start=1):
                    try:
                        document = json.loads(line)
                        image, sources = document["image"], document["sources"]
                        kind = (document.get("recipe") or {}).get("kind", "")
                        self._table.add(_text(image), json.dumps([[_text(s) for s in sources], _text(kind)]))
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        yield Rejection(f"{FILE}:{number}", "bad-provenance", f"cannot be understood: {error!r}")
        except NotFoundError:
            return

    def applied(self, entry: Entry) -> Entry:
        """Return the entry with what is known of its making."""
        links, method = list(entry.links), entry.method
        for line in self._table.take(entry.file.key):
            sources, kind = json.loads(line)
            links += [f"source:{source}" for source in sources]
            method = kind or method
        if method == entry.method and len(links) == len(entry.links):
            return entry
        known = entry.method if entry.label == AUTHENTIC else method
        return dataclasses.replace(entry, links=tuple(links), method=known)

    def without_picture(self) -> Iterator[Rejection]:
        """Yield a rejection for each line whose picture was not found."""
        for image, _ in self._table.untaken():
            yield Rejection(f"{FILE}: {image}", "bad-provenance", "there is no such picture, or it was left out")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r}")
    value.encode("utf-8")  # raises for lone surrogates, which \\u escapes can hold
    return value
