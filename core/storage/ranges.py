"""Reading a range of an S3 object, going on where it stopped when the connection breaks."""

import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from core.errors import StorageError
from core.storage.base import PreconditionFailedError
from core.storage.faults import Attempts, error_code

Get = Callable[[int, int | None, str | None], dict[str, Any]]


class RangeStream(io.RawIOBase):
    """The bytes of one object from ``start`` to ``stop`` (None: its end), in one request unless that breaks.

    All that is read belongs to one version of the object: where it is replaced meanwhile, reading fails.
    """

    def __init__(
        self, get: Get, attempts: Attempts, start: int = 0, stop: int | None = None, etag: str | None = None
    ) -> None:
        """Args: see the class; ``get(start, stop, etag)`` is the request, which answers as boto3's get_object does."""
        super().__init__()
        self._get = get
        self._attempts = attempts
        self._position = start
        self._stop = stop
        self._etag = etag
        self._end: int | None = None  # known once connected
        self._body: Any = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; a seek costs a new request at the next read."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, counted in the whole object."""
        if whence == os.SEEK_END and self._end is None:
            self._retry(self._connect)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end or 0}[whence]
        if base + offset != self._position:
            self._disconnect()
            self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill (a part of) ``buffer``; 0 at the end."""
        return int(self._retry(lambda: self._fill(memoryview(buffer).cast("B"))))

    def read_rest(self) -> bytes:
        """Return all that is left of the range."""
        parts = [self._retry(self._take)]
        while self._end is not None and self._position < self._end:
            parts.append(self._retry(self._take))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Drop the connection."""
        self._disconnect()
        super().close()

    def _connect(self) -> int:
        if self._body is None:
            answer = self._get(self._position, self._stop, self._etag)
            self._etag = answer["ETag"]
            self._end = self._position + int(answer["ContentLength"])
            self._body = answer["Body"]
        return 0

    def _disconnect(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with suppress(Exception):  # the connection may be broken already
                body.close()

    def _fill(self, buffer: memoryview) -> int:
        if self._end is not None and self._position >= self._end:
            return 0
        self._connect()
        return self._moved(self._body.readinto(buffer), expected=len(buffer))

    def _take(self) -> bytes:
        self._connect()
        data: bytes = self._body.read()
        self._moved(len(data), expected=1)
        return data

    def _moved(self, count: int, expected: int) -> int:
        if count == 0 and expected and self._end is not None and self._position < self._end:
            raise ConnectionError("the connection was closed before its end")
        self._position += count
        if self._attempts.failures:
            self._attempts.progressed()
        return count

    def _retry(self, step: Callable[[], Any]) -> Any:
        while True:
            self._attempts.check()
            try:
                return step()
            except Exception as error:
                self._disconnect()
                if error_code(error) in ("InvalidRange", "416"):  # the range begins at the object's end or behind it
                    self._end = self._position
                    return b"" if step == self._take else 0
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        try:
            self._attempts.failed(error)
        except PreconditionFailedError as replaced:
            raise StorageError(f"{self._attempts.uri} was replaced while it was read; start again") from replaced
