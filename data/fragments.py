"""Writing shards: uncompressed tar files, named by their content, that hold the pixels an index points into.

A shard is written in two steps. Workers write fragments (tar entries without the end of an archive), each by itself;
one process then copies fragments back to back into shards. So the bytes do not depend on how many workers there were.
"""

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO

from core.errors import StorageError
from core.files import CHUNK, atomic_write

TARGET_BYTES = 256 * 2**20

_END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)


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
