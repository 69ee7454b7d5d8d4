"""A folder of fetched shards with a bound on its size, shared by any number of processes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import StorageError
from core.files import is_temporary, write_text

_LOCKS = 256  # a fixed number of lock files: removing one that another process waits for would break the lock
_TOUCH_SECONDS = 30.0
IDLE_SECONDS = 600.0  # a shard that nobody read for so long may give way to one that is read now
_ABANDONED_SECONDS = 3600.0  # a partly fetched shard that nobody has written to for so long has lost its process


@dataclass(frozen=True)
class Stamp:
    """Tells one state of a file from any other without reading it."""

    inode: int
    modified_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Return the stamp of a file's status."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)

    def __str__(self) -> str:
        return f"{self.inode} {self.modified_ns} {self.size}"


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    used: float
    modified: float


class ShardCache:
    """Shards in ``folder``, together at most ``limit_bytes``; a file's access time says when it was last used."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._touched: dict[str, float] = {}

    def path(self, shard: str) -> Path:
        """Return where a shard lies when it is in the cache."""
        return self._folder / shard

    def touch(self, shard: str) -> None:
        """Note that a shard is in use."""
        now = time.time()
        if now - self._touched.get(shard, 0.0) > _TOUCH_SECONDS:
            self._touched[shard] = now
            path = self.path(shard)
            with suppress(OSError):  # gone meanwhile; whoever has it open reads on
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def verified(self, shard: str) -> Stamp | None:
        """Return the stamp that the shard's file had when it was last verified, by whichever process."""
        try:
            inode, modified, size = self._note(shard).read_text(encoding="ascii").split()
            return Stamp(int(inode), int(modified), int(size))
        except (OSError, ValueError):
            return None

    def remember_verified(self, shard: str, stamp: Stamp) -> None:
        """Spare other processes the verification of the file that has this stamp."""
        write_text(self._note(shard), str(stamp))

    def has_room_for(self, shard: str, size: int) -> bool:
        """Tell whether a shard is here, or may come without another giving way."""
        return self.path(shard).exists() or sum(e.size for e in self._entries()) + size <= self._limit

    @contextmanager
    def room(self, shard: str, size: int) -> Iterator[bool]:
        """Hold room for a shard of ``size`` bytes while it is fetched, if there is any.

        Shards that are idle give way, those not used for longest first. What is in use stays: where the data are
        larger than the cache, shards that push out one another would be fetched whole for every sample. Processes that
        are reading a removed shard read on.

        Yields:
            Whether there is room.
        """
        if size > self._limit:
            yield False
            return
        held = self._folder / f".{shard}.reserved"
        with self._locked("eviction"):
            granted = self._make_room(size)
            if granted:
                with held.open("wb") as stream:
                    stream.truncate(size)  # as long as the shard will be, without a block on the disk
        try:
            yield granted
        finally:
            if granted:
                held.unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        now, entries = time.time(), sorted(self._entries(), key=lambda entry: entry.used)
        excess = sum(entry.size for entry in entries) + size - self._limit
        for entry in entries:
            if is_temporary(entry.path.name):
                removed = now - entry.modified > _ABANDONED_SECONDS
            else:
                removed = excess > 0 and now - entry.used >= IDLE_SECONDS
            if removed:
                entry.path.unlink(missing_ok=True)
                self._note(entry.path.name).unlink(missing_ok=True)
                excess -= entry.size
        return excess <= 0

    @contextmanager
    def lock(self, shard: str) -> Iterator[None]:
        """Keep every other process from fetching this shard."""
        with self._locked(f"{int(shard[:8], 16) % _LOCKS:02x}"):
            yield

    def _note(self, shard: str) -> Path:
        return self._folder / "verified" / shard

    def _entries(self) -> list[_Entry]:
        found = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found.append(_Entry(Path(entry.path), status.st_size, status.st_atime, status.st_mtime))
        return found

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        path = self._folder / "locks" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StorageError(
                f"cannot write into the shard cache {self._folder}: {error.strerror}; set VERIFRAME_CACHE to a "
                "folder that may be written"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
