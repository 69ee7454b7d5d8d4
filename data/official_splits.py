"""Official split files: which sample belongs to which split, as the makers of a data set published it."""

import csv
import io
import json
from collections.abc import Iterator

from core.disktable import DiskTable
from core.errors import SettingsError
from data.index import SPLITS

# What published lists call their splits.
_NAMES = {name: name for name in SPLITS} | {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
_HEADER = ("name", "split")


class OfficialSplits:
    """A file of names and splits, held on disk.

    CSV has the columns ``name`` and ``split``; JSON is either ``{"<name>": "<split>", ...}`` or
    ``{"<split>": ["<name>", ...], ...}``. A name is a media id, the path in the layout, a file name, or a file name
    without its extension; the most specific one that is listed counts.
    """

    def __init__(self, data: bytes, origin: str) -> None:
        """Read the file.

        Args:
            data: its bytes.
            origin: where it came from, for errors.

        Raises:
            SettingsError: when it is neither, or names an unknown split, or puts one name into two splits.
        """
        self._origin = origin
        self._table = DiskTable()
        try:
            text = data.decode("utf-8-sig")
            pairs = _from_json(json.loads(text)) if text.lstrip()[:1] == "{" else _from_csv(text)
            for name, split in pairs:
                self._add(name, split)
        except (ValueError, csv.Error) as error:
            raise SettingsError(f"split file {origin} is neither CSV nor JSON of names and splits: {error}") from error
        if not len(self._table):
            raise SettingsError(f"split file {origin} names no sample")

    def _add(self, name: object, split: object) -> None:
        known = _NAMES.get(split.strip().lower()) if isinstance(split, str) else None
        if known is None or not isinstance(name, str):
            raise SettingsError(
                f"split file {self._origin}: {name!r} has the split {split!r}; allowed: {', '.join(_NAMES)}"
            )
        self._table.add(name.strip(), known)

    def of(self, *names: str) -> int:
        """Return the split of a sample as its position in ``SPLITS``, -1 where it has none.

        Args:
            *names: what it may be listed as, the most specific first.

        Raises:
            SettingsError: when the first name that is listed is in two splits.
        """
        for name in names:
            found = self._table.take(name)
            if len(found) > 1:
                raise SettingsError(f"split file {self._origin}: {name!r} is in several splits: {', '.join(found)}")
            if found:
                return SPLITS.index(found[0])
        return -1


def _from_json(document: dict[str, object]) -> Iterator[tuple[object, object]]:
    for key, value in document.items():
        if isinstance(value, list):
            yield from ((name, key) for name in value)
        else:
            yield key, value


def _from_csv(text: str) -> Iterator[tuple[object, object]]:
    rows = csv.reader(io.StringIO(text))
    header = [column.strip().lower() for column in next(rows, [])]
    if not all(column in header for column in _HEADER):
        raise ValueError(f"the first line must name the columns {' and '.join(_HEADER)}, it is {','.join(header)!r}")
    name, split = (header.index(column) for column in _HEADER)
    for row in rows:
        if row:
            yield (row[name], row[split]) if len(row) > max(name, split) else (",".join(row), None)
