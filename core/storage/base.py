"""What every store offers, whatever lies behind it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from core.errors import StorageError


class NotFoundError(StorageError):
    """There is no object of that key."""


class PreconditionFailedError(StorageError):
    """A conditional write found an object that was not to be there, or not the one that was expected."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing says of one object.

    Attributes:
        key: relative to the store's root, with ``/`` between its parts.
        size: bytes.
        etag: opaque; changes whenever the object is written.
        modified: seconds since the epoch.
    """

    key: str
    size: int
    etag: str
    modified: float


class Store(Protocol):
    """Objects under one root. Cheap to pickle; may be used from several threads and after a fork.

    Every method raises ``StorageError`` for a key that leaves the root (a part of it is empty, ``.`` or ``..``) and
    for whatever keeps the operation from succeeding.
    """

    @property
    def uri(self) -> str:
        """The root, without a slash at its end."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Stream all objects whose key begins with ``prefix``, at any depth.

        A folder, and S3 itself, give them by the bytes of their UTF-8 keys; some S3-compatible servers folder by
        folder. Objects that are written or removed meanwhile may or may not be among them.
        """

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        """Return ``size`` bytes from ``offset`` (fewer at the object's end), or all from there on.

        Raises:
            NotFoundError: when there is no such object.
        """

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object as a seekable stream that holds about 1 MiB in memory.

        Raises:
            NotFoundError: when there is no such object.
        """

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object as a whole.

        Args:
            key: where.
            data: what.
            if_absent: only where there is no object yet.
            if_match: only where the present object has this etag.

        Returns:
            The new object's etag.

        Raises:
            PreconditionFailedError: when the condition does not hold; nothing was written.
        """

    def upload(self, path: Path, key: str, *, progress: bool = False) -> None:
        """Copy a file into the store, in parallel parts where that is faster; readers see all of it or nothing."""

    def download(self, key: str, path: Path, *, progress: bool = False) -> None:
        """Copy an object to a file, in parallel parts where that is faster; ``path`` appears whole or not at all.

        Raises:
            NotFoundError: when there is no such object.
        """

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""


def join(uri: str, *parts: str) -> str:
    """Append parts to a URI (or a plain path) with single slashes between them; empty parts are left out."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part.strip("/"))])


def check_key(uri: str, key: str) -> str:
    """Return ``key`` if it stays under its root.

    Raises:
        StorageError: when a part of it is empty, ``.`` or ``..``, or when it holds a NUL.
    """
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
        raise StorageError(
            f"{key!r} is no key under {uri}: it must be a relative path without empty, '.' or '..' parts"
        )
    return key
