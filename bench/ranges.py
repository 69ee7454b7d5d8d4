"""Random draws from data ten times the cache: bytes read for each byte used, and samples a second against a folder."""

import os
import random
import time
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from bench.record import Ratio
from bench.seaweed import running
from core.storage import open_store
from core.storage.s3 import S3Store
from data.fragments import FragmentWriter, assemble
from data.shards import ShardReader, Span

SAMPLE_BYTES = 131_000  # a face crop stored without loss, as the published recipe of deepfakes gives them
SAMPLES = 2000
SHARD_BYTES = 4 * 2**20  # 63 shards: as many as 16 GB have at their usual size
CACHE_SHARE = 0.1
ROUNDS = 3

Place = tuple[str, Span]


def measure() -> list[Ratio]:
    """Draw every sample once a round in random order, as a sampler of a training does.

    Returns:
        Bytes fetched through bytes used (goal at most 1.2), and samples a second of one thread from SeaweedFS against
        the same draws from a local folder.
    """
    with (
        running() as server,
        TemporaryDirectory(prefix="bench-ranges-") as temporary,
        mock.patch.dict(os.environ, server.environment),
    ):
        folder, uri = Path(temporary), f"{server.bucket()}/shards"
        places = _write(folder / "shards", uri)
        return _compare(folder, uri, places)


def _write(folder: Path, uri: str) -> list[Place]:
    """Write the samples to shards in the folder and the bucket; return where each lies."""
    draw, places, fragments = random.Random(0), [], []
    for number in range(SAMPLES):
        content = draw.randbytes(SAMPLE_BYTES)
        fragments.append(folder / f"{number:05d}.fragment")
        with FragmentWriter(fragments[-1]) as writer:
            offset, size = writer.add(f"{number:05d}.png", content)
        places.append(Span(offset, size, zlib.crc32(content)))
    found = []
    for placed, span in zip(assemble(fragments, folder, SHARD_BYTES), places, strict=True):
        found.append((placed.shard_name, Span(span.offset + placed.base_offset, span.size, span.crc32)))
        placed.path.unlink()
    store = open_store(uri)
    for shard in dict.fromkeys(shard for shard, _ in found):
        store.upload(folder / shard, shard)
    return found


def _compare(folder: Path, uri: str, places: list[Place]) -> list[Ratio]:
    total = sum(span.size for _, span in places)
    remote = ShardReader(uri, folder / "cache", int(CACHE_SHARE * total))
    local = ShardReader(str(folder / "shards"), folder / "notes")
    fetched, rates, speeds = [], [], []
    for turn in range(ROUNDS):
        order = random.Random(turn).sample(places, len(places))
        with _Meter() as meter:
            ours = _seconds(remote, order)
        theirs = _seconds(local, order)
        fetched.append(meter.bytes / total)
        rates.append(len(order) / ours)
        speeds.append(theirs / ours)
    against = "the bytes of the samples that were drawn, with a cache of a tenth of the data"
    return [
        Ratio("bytes fetched for random draws", total / 2**20, "MiB used", against, fetched, goal=1.2, at_most=True),
        Ratio(
            "random draws from SeaweedFS, one thread", sorted(rates)[ROUNDS // 2], "samples/s", "a local folder", speeds
        ),
    ]


def _seconds(reader: ShardReader, order: list[Place]) -> float:
    started = time.perf_counter()
    for shard, span in order:
        reader.read(shard, span)
    return time.perf_counter() - started


class _Meter:
    """Counts what is fetched from S3 by this process, whole shards and ranges."""

    def __init__(self) -> None:
        self.bytes = 0

    def __enter__(self) -> "_Meter":
        read, download = S3Store.read, S3Store.download

        def counted_read(store: S3Store, key: str, offset: int = 0, size: int | None = None) -> bytes:
            data = read(store, key, offset, size)
            self.bytes += len(data)
            return data

        def counted_download(store: S3Store, key: str, path: Path, *, progress: bool = False) -> None:
            download(store, key, path, progress=progress)
            self.bytes += path.stat().st_size

        self._patches = [
            mock.patch.object(S3Store, "read", counted_read),
            mock.patch.object(S3Store, "download", counted_download),
        ]
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *error: object) -> None:
        for patch in self._patches:
            patch.stop()
