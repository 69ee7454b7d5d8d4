"""What there is to do: the entries of a layout, sorted and cut into chunks whose names tell their content."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from components.extract_frames.chunk import Job
from components.extract_frames.recipe import ExtractRecipe
from core.disktable import DiskTable
from core.errors import BadInputError
from core.storage import Store
from data.entries.entry import Entry, Rejection
from data.entries.settings import EntrySettings
from data.layout import LAYOUTS, read_layout

CHUNK_BYTES = 32 * 2**20  # of a chunk's files together, unless it is one alone

# Part of every chunk's name; to be raised whenever a chunk's files come out otherwise than before.
_FORMAT = 4


class Plan:
    """All entries and rejections of one listing, held on disk in the order of their names.

    Attributes:
        settings: what decides how an entry is stored.
        count: number of entries.
        unit: what an entry is called.
    """

    def __init__(self, store: Store, recipe: ExtractRecipe) -> None:
        """List the source.

        Raises:
            BadInputError: ``no-input`` when nothing lies there.
            StorageError: when the source cannot be listed.
        """
        layout = LAYOUTS.get(recipe.layout)
        self.settings = EntrySettings(
            limits=recipe.limits,
            extraction=recipe.spec.extraction,
            classes=recipe.spec.classes,
            mirrored=recipe.near_duplicates.mirrored,
            boxes_of_original=recipe.boxes_of_original,
        )
        self.unit = layout.kind.unit
        self._kind = layout.kind
        self._rejected = DiskTable()
        self._dataset = recipe.dataset
        self._entries = DiskTable()
        ignore = frozenset({recipe.splits.file} if recipe.splits.file else ())
        for item in read_layout(recipe.layout, store, recipe.layout_options, ignore=ignore):
            if isinstance(item, Rejection):
                self.reject(item)
            else:
                self._entries.add(item.name, item.to_json())
        self.count = len(self._entries)
        if not self.count and not len(self._rejected):
            raise BadInputError(
                "no-input",
                f"{store.uri} does not exist or holds nothing; the layout {recipe.layout!r} has its files in "
                f"{layout.expected}",
            )

    def reject(self, rejection: Rejection) -> None:
        """Note an input that is left out."""
        self._rejected.add(rejection.name, rejection.to_json())

    def rejections(self) -> Iterator[tuple[str, str]]:
        """Stream what is left out, by name: reason, and line of ``rejected.jsonl``."""
        for _, line in self._rejected.pairs():
            yield json.loads(line)["reason"], line

    def chunks(self) -> Iterator[tuple[str, tuple[Entry, ...]]]:
        """Stream the chunks: name, and consecutive entries."""
        lines: list[str] = []
        entries: list[Entry] = []
        size = 0
        for _, line in self._entries.pairs():
            entry = Entry.from_json(line)
            entry_bytes = _bytes(entry)
            if lines and (len(lines) == self._kind.chunk_entries or size + entry_bytes > CHUNK_BYTES):
                yield self._name(lines), tuple(entries)
                lines, entries, size = [], [], 0
            lines.append(line)
            entries.append(entry)
            size += entry_bytes
        if lines:
            yield self._name(lines), tuple(entries)

    def job(self, name: str, entries: tuple[Entry, ...], folder: Path) -> Job:
        """Return the job of a chunk whose files come into ``folder``."""
        return Job(name, folder, self._kind, self.settings, self._dataset, entries)

    def _name(self, lines: list[str]) -> str:
        settings = json.dumps([_FORMAT, self._dataset, self.settings.to_json()])
        return hashlib.sha256("\n".join([settings, *lines]).encode()).hexdigest()[:32]


def _bytes(entry: Entry) -> int:
    return entry.file.size + (entry.mask.size if entry.mask else 0)
