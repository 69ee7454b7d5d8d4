"""What an extraction has done, kept in a store: whoever goes on with it, on whatever machine, finds it there.

Of every chunk lie there its rows, for good, and its fragment, which holds the pixels, until its shard is stored; of
every shard lies there the note that says what is in it.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from components.extract_frames.chunk import fragment_path, rows_path
from core.storage import open_store

T = TypeVar("T")

_AT_ONCE = 8  # transfers


class Kept:
    """The place of finished chunks of one extraction; a context manager. Without a URI it keeps and has nothing."""

    def __init__(self, uri: str, folder: Path) -> None:
        """Find out what is there.

        Args:
            uri: of the place; "" for none.
            folder: of the chunks' files on this machine.

        Raises:
            StorageError: when the place cannot be listed.
        """
        self._store = open_store(uri) if uri else None
        self._folder = folder
        self._there = {info.key for info in self._store.list()} if self._store else set()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="keep")
        self._uploads: dict[str, Future[None]] = {}

    def __enter__(self) -> "Kept":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def has_rows(self, chunk: str) -> bool:
        """Tell whether the rows of a chunk are kept; without a place to keep them, whether they are in the folder."""
        rows = rows_path(self._folder, chunk)
        return rows.name in self._there if self._store else rows.exists()

    def take_notes(self, notes: Iterable[Path]) -> None:
        """Fetch the notes that are kept and not in the folder."""
        self._take([note for note in notes if note.name in self._there and not note.exists()])

    def take_rows(self, chunks: Iterable[str]) -> None:
        """Fetch the rows that are not in the folder."""
        paths = (rows_path(self._folder, chunk) for chunk in chunks)
        self._take([path for path in paths if path.name in self._there and not path.exists()])

    def take_chunks(self, chunks: Iterable[str]) -> None:
        """Fetch rows and fragments of those chunks that both are kept of, and that are not complete in the folder."""
        waiting = []
        for chunk in chunks:
            paths = (fragment_path(self._folder, chunk), rows_path(self._folder, chunk))
            if all(path.name in self._there for path in paths) and not all(path.exists() for path in paths):
                waiting.append(paths)
        self._take([fragment for fragment, _ in waiting])
        self._take([rows for _, rows in waiting])

    def keep(self, chunk: str) -> None:
        """Begin to upload the files of a chunk, the rows last."""
        if self._store is not None:
            self._uploads[chunk] = self._threads.submit(self._upload, chunk)

    def settle(self, chunks: Sequence[str], note: Path) -> None:
        """Keep the note of a stored shard, and the pixels of its chunks no longer.

        Raises:
            StorageError: when these, or earlier, files could not be uploaded.
        """
        if self._store is None:
            return
        for chunk in chunks:
            upload = self._uploads.pop(chunk, None)
            if upload is not None and not upload.cancel():
                upload.result()
        self._all(self._put, [rows_path(self._folder, chunk) for chunk in chunks if not self.has_rows(chunk)])
        self._put(note)
        self.drop_pixels(chunks)

    def drop_pixels(self, chunks: Iterable[str]) -> None:
        """Remove the fragments of chunks that lie in stored shards, where any are left."""
        store = self._store
        if store is not None:
            keys = [fragment_path(self._folder, chunk).name for chunk in chunks]
            self._all(store.delete, [key for key in keys if key in self._there])
            self._there.difference_update(keys)

    def _upload(self, chunk: str) -> None:
        for path in (fragment_path(self._folder, chunk), rows_path(self._folder, chunk)):
            self._put(path)

    def _put(self, path: Path) -> None:
        assert self._store is not None  # noqa: S101  nothing is uploaded without a place
        self._store.upload(path, path.name)
        self._there.add(path.name)

    def _take(self, paths: Sequence[Path]) -> None:
        store = self._store
        if store is not None:
            self._all(lambda path: store.download(path.name, path), paths)

    def _all(self, call: Callable[[T], None], items: Iterable[T]) -> None:
        """Make the call with all items, several at a time; raise the first error."""
        for done in [self._threads.submit(call, item) for item in items]:
            done.result()
