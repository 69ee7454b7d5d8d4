"""A folder as a store."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import quote

from core.errors import StorageError
from core.files import CHUNK, atomic_write, is_temporary
from core.progress import Counter, counter
from core.storage.base import NotFoundError, ObjectInfo, PreconditionFailedError, check_key


def _etag(status: os.stat_result) -> str:
    # The inode tells two writes apart that fall into one tick of the file system's clock: a write is a new file.
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


class FileStore:
    """Files under one folder. Symbolic links are followed, since data sets are often assembled from them.

    Attributes:
        root: the folder, absolute.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (resolve() would follow the root's own links)

    @property
    def uri(self) -> str:
        """The folder as ``file:///…``."""
        return "file://" + quote(str(self.root)).rstrip("/")

    def path(self, key: str) -> Path:
        """Return where an object lies (or would lie) on this machine."""
        return self.root / check_key(self.uri, key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See ``Store.list``; one folder's names are held in memory at a time (and those of its parents)."""
        folder = prefix.rpartition("/")[0]
        start = self.path(folder) if folder else self.root
        if start.is_dir():
            yield from self._walk(start, f"{folder}/" if folder else "", prefix, frozenset())

    def _walk(self, folder: Path, base: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[ObjectInfo]:
        try:
            status = folder.stat()
            with os.scandir(folder) as found:
                # A folder sorts by its name with the slash that its keys have, which gives the order of whole keys.
                entries = sorted(
                    (os.fsencode(e.name) + b"/" * _is_folder(e), e) for e in found if not is_temporary(e.name)
                )
        except OSError as error:
            raise StorageError(f"cannot list {folder}: {error.strerror}; check its permissions") from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:  # a link back up
            return
        for name, entry in entries:
            key = base + entry.name
            if name.endswith(b"/"):
                if prefix.startswith(f"{key}/") or f"{key}/".startswith(prefix):
                    yield from self._walk(Path(entry.path), f"{key}/", prefix, above | {identity})
            elif key.startswith(prefix):
                with suppress(FileNotFoundError):  # removed since the listing
                    yield _info(key, _status(entry))

    def head(self, key: str) -> ObjectInfo | None:
        """See ``Store.head``."""
        try:
            status = self.path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"cannot look at {self.path(key)}: {error.strerror}") from error
        return None if stat.S_ISDIR(status.st_mode) else _info(key, status)

    def read(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        """See ``Store.read``."""
        with self.open(key) as stream:
            try:
                stream.seek(offset)
                return stream.read(-1 if size is None else size)
            except OSError as error:
                raise StorageError(f"cannot read {self.path(key)}: {error.strerror}") from error

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """See ``Store.open``."""
        path = self.path(key)
        try:
            # Without O_NONBLOCK the opening of a pipe that lies in the folder would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"{path} does not exist") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}; check its permissions") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)  # fdopen would raise for a folder and leave it open
            raise StorageError(f"cannot read {path}: it is not a regular file")
        with os.fdopen(descriptor, "rb") as stream:
            yield stream

    def write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``Store.write``; conditional writers exclude each other by a lock on the object's folder."""
        path = self.path(key)
        if not if_absent and if_match is None:
            return _replace(path, data)
        with _locked(path.parent):
            present = self.head(key)
            if if_absent and present is not None:
                raise PreconditionFailedError(f"{path} exists already")
            if if_match is not None and (present is None or present.etag != if_match):
                raise PreconditionFailedError(f"{path} is not the version {if_match} that was to be replaced")
            return _replace(path, data)

    def upload(self, path: Path, key: str, *, progress: bool = False) -> None:
        """See ``Store.upload``."""
        try:
            source = path.open("rb")
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        with source:
            _copy(source, self.path(key), progress)

    def download(self, key: str, path: Path, *, progress: bool = False) -> None:
        """See ``Store.download``."""
        with self.open(key) as source:
            _copy(source, path, progress)

    def delete(self, key: str) -> None:
        """See ``Store.delete``."""
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {self.path(key)}: {error.strerror}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # a link to nowhere: listed, so that whoever reads it can say that it is broken
        return entry.stat(follow_symlinks=False)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, _etag(status), status.st_mtime)


def _replace(path: Path, data: bytes) -> str:
    with atomic_write(path) as stream:
        stream.write(data)
        stream.flush()
        return _etag(os.fstat(stream.fileno()))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot write into {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _copy(source: BinaryIO, target: Path, progress: bool) -> None:
    with (
        counter(os.fstat(source.fileno()).st_size, unit="B", label=target.name, quiet=not progress) as count,
        atomic_write(target) as stream,
    ):
        shutil.copyfileobj(source, _Counted(stream, count), CHUNK)


class _Counted:
    """The writing half of a file, counting."""

    def __init__(self, stream: IO[bytes], count: Counter) -> None:
        self._stream = stream
        self._count = count

    def write(self, block: bytes) -> int:
        self._count.update(len(block))
        return self._stream.write(block)
