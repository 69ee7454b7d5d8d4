"""A table of strings that grows on disk instead of in memory."""

import sqlite3
from collections.abc import Iterator


class DiskTable:
    """Pairs of strings, sorted by the UTF-8 bytes of key and then value; equal pairs are held once.

    The pairs lie in a private SQLite database that vanishes with the object. It stays in memory while it is small
    and goes to the temporary folder (``SQLITE_TMPDIR`` or ``TMPDIR``) when it grows. For one thread.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("CREATE TABLE pairs (key TEXT, value TEXT, taken INT, PRIMARY KEY (key, value)) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add(self, key: str, value: str) -> None:
        """Add a pair; neither string may hold lone surrogates."""
        self._db.execute("INSERT OR IGNORE INTO pairs VALUES (?, ?, 0)", (key, value))

    def take(self, key: str) -> list[str]:
        """Return the values of a key, none if it has none, and mark them as taken; they stay in the table."""
        values = [value for (value,) in self._db.execute("SELECT value FROM pairs WHERE key = ?", (key,))]
        if values:
            self._db.execute("UPDATE pairs SET taken = 1 WHERE key = ?", (key,))
        return values

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Stream all pairs; the table must not change meanwhile."""
        yield from self._db.execute("SELECT key, value FROM pairs ORDER BY key, value")

    def untaken(self) -> Iterator[tuple[str, str]]:
        """Stream the pairs whose key was never taken; the table must not change meanwhile."""
        yield from self._db.execute("SELECT key, value FROM pairs WHERE taken = 0 ORDER BY key, value")

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM pairs").fetchone()[0])
