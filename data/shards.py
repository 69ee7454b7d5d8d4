"""Reading shards: uncompressed tar files, named by their content, that hold the pixels an index points into."""

import hashlib
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import MismatchError, SettingsError, StorageError
from core.progress import progress
from core.storage import NotFoundError, join, open_store
from core.storage.local import FileStore
from data.shard_cache import ShardCache, Stamp

CACHE_BYTES = 64 * 2**30
GAP_BYTES = 4096  # spans of one shard that lie no further apart are read by one request
_FULL_SECONDS = 30.0  # for how long a reader takes a cache without room to be so

_NAME = re.compile(r"[0-9a-f]{64}\.tar")


@dataclass(frozen=True)
class Span:
    """Where an entry lies in its shard, in bytes, and the CRC-32 of its content."""

    offset: int
    size: int
    crc32: int

    @property
    def stop(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


class ShardReader:
    """Reads entries of shards, which are verified before a byte of them is handed out.

    Shards in a folder are read in place. Those in S3 are fetched whole into a folder that holds at most
    ``limit_bytes``, which any number of processes share: each shard is fetched once. Once the folder is full of shards
    in use, of all others just the spans asked for are fetched, neighbours by one request. A whole shard is verified
    against its name, a span against its CRC-32. Cheap to pickle; may be used after a fork and from several threads;
    keeps no file open.
    """

    def __init__(
        self, shards_uri: str, cache: Path | None = None, limit_bytes: int | None = None, verify: bool = True
    ) -> None:
        """Open nothing yet.

        Args:
            shards_uri: where the shards lie: a URI, or a path.
            cache: folder for fetched shards, by default ``default_cache()``. Of shards in a folder it only remembers
                between processes which ones were verified.
            limit_bytes: the most that the cache may hold, by default ``default_cache_bytes()``.
            verify: False trusts the shards as they are.

        Raises:
            SettingsError: when the environment names no size.
        """
        limit = default_cache_bytes() if limit_bytes is None else limit_bytes
        self._store = open_store(shards_uri)
        if isinstance(self._store, FileStore):
            self._folder = self._store.root
            self._fetched = None
            self._notes = ShardCache(cache or default_cache(), limit)
        else:
            self._folder = cache or default_cache()
            self._fetched = self._notes = ShardCache(self._folder, limit)
        self._full_until = 0.0
        self._verify = verify
        self._verified: dict[str, Stamp] = {}

    def read(self, shard: str, *spans: Span) -> list[bytes]:
        """Return what lies in some spans of a shard.

        Raises:
            MismatchError: when the content is not what the shard's name or the span says, or ends before that.
            NotFoundError: when there is no such shard.
        """
        descriptor = self._open(shard)
        if descriptor is None:
            return self._read_ranges(shard, spans)
        try:
            return [self._whole(shard, span, _pread(descriptor, span)) for span in spans]
        except OSError as error:
            raise StorageError(f"cannot read {join(self._store.uri, shard)}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def _read_ranges(self, shard: str, spans: Sequence[Span]) -> list[bytes]:
        """Fetch spans of a shard, those that are neighbours by one request."""
        found: dict[Span, bytes] = {}
        for start, stop, members in _neighbours(spans):
            data = self._store.read(shard, start, stop - start)
            for span in members:
                found[span] = self._whole(shard, span, data[span.offset - start : span.stop - start])
                if self._verify and zlib.crc32(found[span]) != span.crc32:
                    raise MismatchError(
                        f"{join(self._store.uri, shard)} holds other bytes at {span.offset} than were indexed: it is "
                        "damaged or was replaced; put the original back or extract again"
                    )
        return [found[span] for span in spans]

    def _whole(self, shard: str, span: Span, data: bytes) -> bytes:
        if len(data) < span.size:
            raise MismatchError(
                f"{join(self._store.uri, shard)} ends before byte {span.stop}, where the index says an entry "
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
            descriptor = self._open(shard)
            if descriptor is not None:
                os.close(descriptor)

    def _fits(self, shard: str, cache: ShardCache) -> bool:
        info = self._store.head(_checked(shard))
        return info is None or cache.has_room_for(shard, info.size)

    def _open(self, shard: str) -> int | None:
        """Open a shard; None where it is to be read by ranges."""
        path = self._folder / _checked(shard)
        if self._fetched is not None:
            return self._open_fetched(shard, path, self._fetched)
        descriptor = self._open_verified(path)
        if descriptor is None:
            raise self._missing(shard)
        return descriptor

    def _missing(self, shard: str) -> NotFoundError:
        return NotFoundError(
            f"shard {join(self._store.uri, shard)} does not exist; extract again, or give the place where it is"
        )

    def _open_fetched(self, shard: str, path: Path, cache: ShardCache) -> int | None:
        descriptor = self._open_cached(path)
        if descriptor is None:
            if time.monotonic() < self._full_until:
                return None
            with cache.lock(shard):
                descriptor = self._open_cached(path)  # another process may have fetched it meanwhile
                if descriptor is None:
                    descriptor = self._fetch(shard, path, cache)
        if descriptor is not None:
            cache.touch(shard)
        return descriptor

    def _fetch(self, shard: str, path: Path, cache: ShardCache) -> int | None:
        """Fetch a whole shard and open it; None where there is no room for it."""
        info = self._store.head(shard)
        if info is None:
            raise self._missing(shard)
        with cache.room(shard, info.size) as granted:
            if not granted:
                self._full_until = time.monotonic() + _FULL_SECONDS
                return None
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
        if self._notes.verified(shard) != stamp:
            with ExitStack() as alone:
                if self._fetched is None:  # one that is fetched is verified under its lock
                    with suppress(StorageError):  # where nothing can be remembered, every process verifies for itself
                        alone.enter_context(self._notes.lock(shard))
                if self._notes.verified(shard) != stamp:
                    self._verify_content(shard, descriptor)
                    with suppress(StorageError):
                        self._notes.remember_verified(shard, stamp)
        self._verified[shard] = stamp

    def _verify_content(self, shard: str, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != shard.removesuffix(".tar"):
            raise MismatchError(
                f"shard {join(self._store.uri, shard)} is damaged or was replaced: its content hashes to {found}; "
                "put the original back or extract again"
            )


def _pread(descriptor: int, span: Span) -> bytes:
    data = os.pread(descriptor, span.size, span.offset)
    while len(data) < span.size and (more := os.pread(descriptor, span.size - len(data), span.offset + len(data))):
        data += more
    return data


def _neighbours(spans: Sequence[Span]) -> Iterator[tuple[int, int, list[Span]]]:
    """Yield (first byte, byte behind the last, spans) for spans with at most ``GAP_BYTES`` between them."""
    members: list[Span] = []
    stop = 0
    for span in sorted(set(spans), key=lambda one: one.offset):
        if members and span.offset > stop + GAP_BYTES:
            yield members[0].offset, stop, members
            members = []
        stop = max(stop, span.stop) if members else span.stop
        members.append(span)
    if members:
        yield members[0].offset, stop, members


def _checked(shard: str) -> str:
    if not _NAME.fullmatch(shard):
        raise MismatchError(f"{shard!r} is no shard's name (64 hex digits and .tar): the index is damaged")
    return shard


def default_cache_bytes() -> int:
    """Return the most that the cache may hold: ``$VERIFRAME_CACHE_GIB``, else 64 GiB.

    Raises:
        SettingsError: when the variable is no number of 0 or more.
    """
    given = os.environ.get("VERIFRAME_CACHE_GIB", "")
    if not given:
        return CACHE_BYTES
    try:
        gib = float(given)
    except ValueError:
        gib = -1.0
    if not 0 <= gib < float("inf"):
        raise SettingsError(f"VERIFRAME_CACHE_GIB = {given!r}: expected a number of GiB, 0 or more")
    return int(gib * 2**30)


def default_cache() -> Path:
    """Return the folder for fetched shards: ``$VERIFRAME_CACHE``, else ``veriframe/shards`` in the user's cache."""
    given = os.environ.get("VERIFRAME_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else user / "veriframe" / "shards"
