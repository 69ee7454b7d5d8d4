"""Reading the files of a chunk, ahead of their turn where each request takes its time."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from core.errors import BadInputError, StorageError
from core.storage import NotFoundError, Store
from data.entries.entry import Blob

_AT_ONCE = 8  # requests; a chunk's files together are small enough to be held


class Fetcher:
    """Reads blobs; a context manager. Those of a server are requested side by side, in the order they are given."""

    def __init__(self, store: Store, blobs: Iterable[Blob], max_bytes: int) -> None:
        """Begin.

        Args:
            store: where the blobs are.
            blobs: what will be asked for.
            max_bytes: larger ones are not read.
        """
        self._store = store
        self._max_bytes = max_bytes
        self._local = store.uri.startswith("file://")
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")
        self._ahead: dict[Blob, Future[bytes]] = {}
        if not self._local:
            self._ahead = {blob: self._threads.submit(self._read, blob) for blob in blobs}

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def get(self, blob: Blob) -> bytes:
        """Return the content of a blob.

        Raises:
            BadInputError: ``empty``, ``too-many-bytes``, or ``unreadable``.
            StorageError: when the server fails, rather than this one object.
        """
        future = self._ahead.pop(blob, None)
        return self._read(blob) if future is None else future.result()

    def _read(self, blob: Blob) -> bytes:
        if blob.size == 0:
            raise BadInputError("empty", "the file has no bytes, or is no regular file")
        try:
            data = self._store.read(blob.key, 0, self._max_bytes + 1) if blob.size <= self._max_bytes else b""
        except StorageError as error:
            # What cannot be read in a folder is one bad file. A server that fails would take all that follow along.
            if self._local or isinstance(error, NotFoundError):
                raise BadInputError("unreadable", str(error)) from error
            raise
        if not 0 < len(data) <= self._max_bytes:
            raise BadInputError(
                "too-many-bytes", f"the file has {blob.size:,} bytes, more than the limit of {self._max_bytes:,}"
            )
        return data
