"""From the fragments of chunks to shards in the store, remembered shard by shard so that a restart goes on from there.

Fragments are removed once their shard is stored: at no time does more than a few shards' worth lie on the disk.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from components.extract_frames.chunk import fragment_path
from components.extract_frames.kept import Kept
from core.files import write_text
from core.storage import Store
from data.fragments import AssembledFragment, assemble

_EMPTY = 2 * tarfile.BLOCKSIZE  # bytes of the end of an archive, which is all of one without entries


@dataclass(frozen=True)
class StoredShard:
    """A shard in the store.

    Attributes:
        name: ``<sha256>.tar``.
        size: bytes.
        chunks: names of the chunks in it, in order.
        bases: what to add to the offsets of each.
        last: whether it was closed because there were no more chunks.
    """

    name: str
    size: int
    chunks: tuple[str, ...]
    bases: tuple[int, ...]
    last: bool

    @property
    def pixels(self) -> bool:
        """Whether there are any; chunks of nothing but rejected entries make no shard."""
        return self.size > _EMPTY


class Placement:
    """Where each chunk lies, as far as is known.

    Attributes:
        bases: shard and base offset by chunk.
        shards: those stored, in order.
    """

    def __init__(self, shards: Store, folder: Path, shard_bytes: int, parts: int, kept: Kept) -> None:
        """Know nothing yet.

        Args:
            shards: where shards are stored.
            folder: of the chunks' files; shards are assembled and remembered there.
            shard_bytes: how large a shard may become.
            parts: number of the parts that the chunks are divided into, each with shards of its own.
            kept: where chunks and shards are remembered beyond this machine.
        """
        self._store = shards
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._suffix = f"shard-{shard_bytes}-{parts}.json"
        self._kept = kept
        self.bases: dict[str, tuple[str, int]] = {}
        self.shards: list[StoredShard] = []

    def resume(self, chunks: Sequence[str]) -> int:
        """Take over what an earlier run stored of the same chunks.

        Args:
            chunks: all names of a part, in order.

        Returns:
            How many chunks, from the first on, lie in shards.
        """
        self._kept.take_notes(map(self._record, chunks))
        position = 0
        while position < len(chunks):
            shard = self._remembered(chunks[position])
            if shard is None or tuple(chunks[position : position + len(shard.chunks)]) != shard.chunks:
                break
            end = position + len(shard.chunks)
            same = shard.last == (end == len(chunks)) and self._is_stored(shard)
            if not same or not all(map(self._kept.has_rows, shard.chunks)):
                break
            self._know(shard)
            position = end
        return position

    def _is_stored(self, shard: StoredShard) -> bool:
        stored = self._store.head(shard.name) if shard.pixels else None
        return not shard.pixels or (stored is not None and stored.size == shard.size)

    def place(self, chunks: Iterable[str], final: str) -> None:
        """Assemble chunks, as they come, into shards and store these while the next is filled.

        Args:
            chunks: names, in order; their files are complete.
            final: the last name there will be.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="shard-upload") as uploader:
            earlier: Future[StoredShard] | None = None
            for shard in self._assembled(chunks):
                if earlier is not None:
                    self._know(earlier.result())
                earlier = uploader.submit(self._put, shard, final)
            if earlier is not None:
                self._know(earlier.result())

    def _assembled(self, chunks: Iterable[str]) -> Iterator[list[AssembledFragment]]:
        """Yield the fragments of each shard as soon as it is complete."""
        given = 0

        def fragments() -> Iterator[Path]:
            nonlocal given
            for chunk in chunks:
                given += 1
                yield fragment_path(self._folder, chunk)
            given += 1  # the end closes a shard as a fragment does for which there is no room

        shard: list[AssembledFragment] = []
        placed = assemble(fragments(), self._folder, self._shard_bytes)
        for number, fragment in enumerate(placed, start=1):
            shard.append(fragment)
            if number == given - 1:
                yield shard
                shard = []

    def _put(self, fragments: list[AssembledFragment], final: str) -> StoredShard:
        name = fragments[0].shard_name
        path = self._folder / name
        shard = StoredShard(
            name=name,
            size=path.stat().st_size,
            chunks=tuple(fragment.path.stem for fragment in fragments),
            bases=tuple(fragment.base_offset for fragment in fragments),
            last=fragments[-1].path.stem == final,
        )
        if not self._is_stored(shard):
            self._store.upload(path, name)
        record = self._record(shard.chunks[0])
        write_text(record, json.dumps(asdict(shard)))
        self._kept.settle(shard.chunks, record)
        path.unlink()
        for fragment in fragments:
            fragment.path.unlink()
        return shard

    def _know(self, shard: StoredShard) -> None:
        if shard.pixels:
            self.shards.append(shard)
        for chunk, base in zip(shard.chunks, shard.bases, strict=True):
            self.bases[chunk] = (shard.name, base)

    def _record(self, first_chunk: str) -> Path:
        return self._folder / f"{first_chunk}.{self._suffix}"

    def _remembered(self, first_chunk: str) -> StoredShard | None:
        with suppress(FileNotFoundError):
            fields = json.loads(self._record(first_chunk).read_text(encoding="utf-8"))
            return StoredShard(**(fields | {"chunks": tuple(fields["chunks"]), "bases": tuple(fields["bases"])}))
        return None
