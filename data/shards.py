"""Shards: uncompressed tar files, named by their content, that hold the pixels an index points into.

A shard is written in two steps. Workers write fragments (tar entries without the end of an archive), each by itself;
one process then copies fragments back to back into shards. So the bytes do not depend on how many workers there were.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO

from core.errors import MismatchError, StorageError
from core.files import CHUNK, atomic_write
from core.progress import progress
from core.storage import NotFoundError, join, open_store
from core.storage.local import FileStore
from data.shard_cache import ShardCache, Stamp

TARGET_BYTES = 256 * 2**20
CACHE_BYTES = 64 * 2**30

_END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)
_NAME = re.compile(r"[0-9a-f]{64}\.tar")


class FragmentWriter:
    """Writes tar entries to ``path``, which appears whole on leaving the context, or not at all after an error.

    Headers hold nothing but name and size (mode 0644, owner 0, time 0): equal entries give equal bytes. WebDataset
    reads entries whose names share all up to the first dot as one sample.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._exit = ExitStack()
        self._stream: IO[bytes] | None = None
        self._position = 0

    def __enter__(self) -> "FragmentWriter":
        self._stream = self._exit.enter_context(atomic_write(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream = None
        self._exit.__exit__(kind, error, traceback)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._position

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        """Append one entry.

        Args:
            name: relative path within the archive, for example ``<sample_id>.jpg``.
            data: its content.

        Returns:
            Offset of the content from the fragment's beginning, and its size, in bytes.

        Raises:
            StorageError: when the name would leave the folder that an archive is unpacked in, or outside the context.
        """
        if self._stream is None:
            raise StorageError(f"{self._path}: entries can only be added inside the writer's with block")
        if not name or "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise StorageError(f"{name!r} cannot name an entry of a shard: it must be a plain relative path")
        header = _header(name, len(data))
        padding = bytes(-len(data) % tarfile.BLOCKSIZE)
        self._stream.write(header)
        self._stream.write(data)
        self._stream.write(padding)
        offset = self._position + len(header)
        self._position = offset + len(data) + len(padding)
        return offset, len(data)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@dataclass(frozen=True)
class AssembledFragment:
    """Where a fragment went: add ``base_offset`` to its entries' offsets to find them in shard ``shard_name``."""

    shard_name: str
    base_offset: int
    path: Path


def assemble(fragments: Iterable[Path], folder: Path, target_bytes: int = TARGET_BYTES) -> Iterator[AssembledFragment]:
    """Copy fragments, in their order, back to back into shards named ``<sha256 of the content>.tar``.

    A shard is closed before the fragment with which it would exceed ``target_bytes``; only a fragment that is larger
    by itself makes a larger shard. A fragment never lies in two shards. Lazy: the fragments of a shard are yielded
    once it is complete in ``folder``, so that a caller may upload and remove it before the next is begun.

    Raises:
        StorageError: when a fragment cannot be read or a shard cannot be written.
    """
    pending: list[tuple[Path, int]] = []
    total = len(_END_OF_ARCHIVE)
    for path in fragments:
        size = _size(path)
        if pending and total + size > target_bytes:
            yield from _close(pending, folder)
            pending, total = [], len(_END_OF_ARCHIVE)
        pending.append((path, size))
        total += size
    if pending:
        yield from _close(pending, folder)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _close(fragments: list[tuple[Path, int]], folder: Path) -> list[AssembledFragment]:
    digest = hashlib.sha256()
    unnamed = folder / f"unnamed-{os.getpid()}.tar"  # the name is known when all is written
    with atomic_write(unnamed) as target:
        for block in chain(*(_blocks(path) for path, _ in fragments), [_END_OF_ARCHIVE]):
            digest.update(block)
            target.write(block)
    name = f"{digest.hexdigest()}.tar"
    unnamed.replace(folder / name)
    bases = [0]
    for _, size in fragments:
        bases.append(bases[-1] + size)
    return [AssembledFragment(name, base, path) for (path, _), base in zip(fragments, bases, strict=False)]


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as source:
            while block := source.read(CHUNK):
                yield block
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot read fragment {path}: {error.strerror}; run the step again")


class ShardReader:
    """Reads entries of shards, which are verified against their names before a byte of them is handed out.

    Shards in a folder are read in place. Those in S3 are fetched whole into a folder that holds at most
    ``limit_bytes``, which any number of processes share: each shard is fetched once, and the one not used for longest
    gives way. Cheap to pickle; may be used after a fork and from several threads; keeps no file open.
    """

    def __init__(
        self, shards_uri: str, cache: Path | None = None, limit_bytes: int = CACHE_BYTES, verify: bool = True
    ) -> None:
        """Open nothing yet.

        Args:
            shards_uri: where the shards lie: a URI, or a path.
            cache: folder for fetched shards, by default ``default_cache()``. Shards in a folder need none: it then
                only remembers between processes which ones were verified.
            limit_bytes: the most that the cache may hold, plus the shards being fetched at a moment.
            verify: False trusts the shards as they are.
        """
        self._store = open_store(shards_uri)
        if isinstance(self._store, FileStore):
            self._folder = self._store.root
            self._fetched = None
            self._notes = ShardCache(cache, limit_bytes) if cache else None
        else:
            self._folder = cache or default_cache()
            self._fetched = self._notes = ShardCache(self._folder, limit_bytes)
        self._verify = verify
        self._verified: dict[str, Stamp] = {}

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` of a shard.

        Raises:
            MismatchError: when the shard's content is not what its name says, or it is shorter than that.
            NotFoundError: when there is no such shard.
        """
        descriptor = self._open(shard)
        try:
            data = os.pread(descriptor, size, offset)
            while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise StorageError(f"cannot read {join(self._store.uri, shard)}: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if len(data) < size:
            raise MismatchError(
                f"{join(self._store.uri, shard)} ends before byte {offset + size}, where the index says an entry "
                "ends: index and shards do not belong together; extract again"
            )
        return data

    def prefetch(self, shards: Iterable[str]) -> None:
        """Verify shards before they are used, and fetch those in S3, as far as they all fit into the cache.

        Called before worker processes are forked, it spares each of them the verification.
        """
        waiting = [shard for shard in dict.fromkeys(shards) if shard not in self._verified]
        for shard in progress(waiting, unit="shard", label="prepare shards") if waiting else ():
            if self._fetched is not None and not self._fits(shard, self._fetched):
                return  # what follows would push out what was just fetched
            os.close(self._open(shard))

    def _fits(self, shard: str, cache: ShardCache) -> bool:
        info = self._store.head(_checked(shard))
        return info is None or cache.has_room_for(shard, info.size)

    def _open(self, shard: str) -> int:
        path = self._folder / _checked(shard)
        descriptor = self._open_fetched(shard, path, self._fetched) if self._fetched else self._open_verified(path)
        if descriptor is None:
            raise NotFoundError(
                f"shard {join(self._store.uri, shard)} does not exist; extract again, or give the place where it is"
            )
        return descriptor

    def _open_fetched(self, shard: str, path: Path, cache: ShardCache) -> int | None:
        descriptor = self._open_cached(path)
        if descriptor is None:
            with cache.lock(shard):
                descriptor = self._open_cached(path)  # another process may have fetched it meanwhile
                if descriptor is None:
                    descriptor = self._fetch(shard, path, cache)
        cache.touch(shard)
        return descriptor

    def _fetch(self, shard: str, path: Path, cache: ShardCache) -> int | None:
        info = self._store.head(shard)
        if info is None:
            return None
        cache.make_room(info.size)
        self._store.download(shard, path)
        try:
            return self._open_verified(path)
        except MismatchError:
            path.unlink(missing_ok=True)
            raise

    def _open_cached(self, path: Path) -> int | None:
        try:
            return self._open_verified(path)
        except MismatchError:  # cut off or damaged on this machine: it is fetched once more
            return None

    def _open_verified(self, path: Path) -> int | None:
        """Open a file if it is there; verify it unless that very file was verified before."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}; check its permissions") from error
        try:
            self._require_verified(path.name, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _require_verified(self, shard: str, descriptor: int) -> None:
        stamp = Stamp.of(os.fstat(descriptor))
        if not self._verify or self._verified.get(shard) == stamp:
            return
        if self._notes is None or self._notes.verified(shard) != stamp:
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != shard.removesuffix(".tar"):
                raise MismatchError(
                    f"shard {join(self._store.uri, shard)} is damaged or was replaced: its content hashes to {found}; "
                    "put the original back or extract again"
                )
            if self._notes is not None:
                self._notes.remember_verified(shard, stamp)
        self._verified[shard] = stamp


def _checked(shard: str) -> str:
    if not _NAME.fullmatch(shard):
        raise MismatchError(f"{shard!r} is no shard's name (64 hex digits and .tar): the index is damaged")
    return shard


def default_cache() -> Path:
    """Return the folder for fetched shards: ``$VERIFRAME_CACHE``, else ``veriframe/shards`` in the user's cache."""
    given = os.environ.get("VERIFRAME_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else user / "veriframe" / "shards"
