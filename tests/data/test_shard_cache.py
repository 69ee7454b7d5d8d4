"""Reading shards in S3 through the bounded cache, and past it where the data are larger; hashing once a machine."""

import hashlib
import multiprocessing
import os
import pickle
import random
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from core.errors import MismatchError, SettingsError, StorageError
from core.storage import NotFoundError, open_store
from core.storage.s3 import S3Store
from data.fragments import assemble
from data.shard_cache import IDLE_SECONDS, ShardCache
from data.shards import GAP_BYTES, ShardReader, Span, default_cache, default_cache_bytes
from tests.data.shard_files import read_entry, write_fragments, write_shard


@pytest.fixture
def fetched(bucket: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards downloaded by this process since the test began."""
    names: list[str] = []
    download = S3Store.download

    def noting(store: S3Store, key: str, path: Path, *, progress: bool = False) -> None:
        names.append(key)
        download(store, key, path, progress=progress)

    monkeypatch.setattr(S3Store, "download", noting)
    return names


def upload_shards(bucket: str, folder: Path, count: int, size: int = 1000) -> list[tuple[str, int, int]]:
    shards = [write_shard(folder, bytes([i]) * size) for i in range(count)]
    for shard, _, _ in shards:
        open_store(f"{bucket}/shards").upload(folder / shard, shard)
    return shards


def cached(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("*.tar")}


def test_a_shard_is_fetched_once_and_verified(bucket: str, fetched: list[str], tmp_path: Path) -> None:
    ((shard, offset, size),) = upload_shards(bucket, tmp_path / "made", 1)
    for _ in range(2):
        reader = ShardReader(f"{bucket}/shards", tmp_path / "cache")
        assert read_entry(reader, shard, offset, size) == bytes(1000)
    assert fetched == [shard]


def test_the_idle_shard_not_used_for_longest_gives_way(
    bucket: str, fetched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.shard_cache.IDLE_SECONDS", 0.0)
    shards = upload_shards(bucket, tmp_path / "made", 4)
    size = (tmp_path / "made" / shards[0][0]).stat().st_size
    cache = tmp_path / "cache"
    for turn in (0, 1, 2, 0, 3):  # a reader each, as after a restart: what was used is remembered on disk
        shard, offset, length = shards[turn]
        assert (
            read_entry(ShardReader(f"{bucket}/shards", cache, 3 * size), shard, offset, length) == bytes([turn]) * 1000
        )
    assert fetched == [shards[i][0] for i in (0, 1, 2, 3)]
    assert cached(cache) == {shards[i][0] for i in (0, 2, 3)}
    assert {path.name for path in (cache / "verified").iterdir()} == cached(cache)


def span_of(content: bytes, offset: int) -> Span:
    return Span(offset, len(content), zlib.crc32(content))


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The shard and the bytes of each ranged read of this process since the test began."""
    made: list[tuple[str, int]] = []
    read = S3Store.read

    def noting(store: S3Store, key: str, offset: int = 0, size: int | None = None) -> bytes:
        data = read(store, key, offset, size)
        made.append((key, len(data)))
        return data

    monkeypatch.setattr(S3Store, "read", noting)
    return made


def test_of_a_shard_larger_than_the_cache_just_the_spans_are_fetched(
    bucket: str, fetched: list[str], requests: list[tuple[str, int]], tmp_path: Path
) -> None:
    ((shard, offset, size),) = upload_shards(bucket, tmp_path / "made", 1)
    reader = ShardReader(f"{bucket}/shards", tmp_path / "cache", 1000)
    assert reader.read(shard, span_of(bytes(size), offset)) == [bytes(size)]
    assert (fetched, requests, cached(tmp_path / "cache")) == ([], [(shard, size)], set())


def test_shards_in_use_do_not_give_way_to_one_another(
    bucket: str, fetched: list[str], requests: list[tuple[str, int]], tmp_path: Path
) -> None:
    """Data ten times the cache, drawn at random: hardly more bytes are read than are used."""
    shards = upload_shards(bucket, tmp_path / "made", 20, 100_000)
    size = (tmp_path / "made" / shards[0][0]).stat().st_size
    reader = ShardReader(f"{bucket}/shards", tmp_path / "cache", 2 * size)
    turns = random.Random(1).choices(range(20), k=100)
    for turn in turns:
        shard, offset, length = shards[turn]
        content = bytes([turn]) * length
        assert reader.read(shard, span_of(content, offset)) == [content]
    assert len(fetched) == 2
    moved = len(fetched) * size + sum(count for _, count in requests)
    assert moved / (len(turns) * 100_000) <= 1.2


def test_an_idle_shard_gives_way(
    bucket: str, fetched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = upload_shards(bucket, tmp_path / "made", 2)
    size = (tmp_path / "made" / shards[0][0]).stat().st_size
    cache = tmp_path / "cache"
    read_entry(ShardReader(f"{bucket}/shards", cache, size), *shards[0])
    os.utime(cache / shards[0][0], (time.time() - IDLE_SECONDS - 1, time.time()))
    read_entry(ShardReader(f"{bucket}/shards", cache, size), *shards[1])
    assert (fetched, cached(cache)) == ([shards[0][0], shards[1][0]], {shards[1][0]})


def test_neighbours_come_by_one_request(bucket: str, requests: list[tuple[str, int]], tmp_path: Path) -> None:
    entries = [("a.png", b"picture" * 500), ("a.mask.png", b"mask"), ("b.png", bytes(3 * GAP_BYTES)), ("c.png", b"c")]
    (path,), (places,) = write_fragments(tmp_path, [entries])
    (placed,) = assemble([path], tmp_path)
    open_store(f"{bucket}/shards").upload(tmp_path / placed.shard_name, placed.shard_name)
    reader = ShardReader(f"{bucket}/shards", tmp_path / "cache", 0)
    contents = [content for _, content in entries]
    spans = [span_of(content, offset) for content, (offset, _) in zip(contents, places, strict=True)]
    assert reader.read(placed.shard_name, spans[0], spans[3], spans[1], spans[0]) == [
        contents[0], contents[3], contents[1], contents[0]
    ]  # fmt: skip
    assert [count for _, count in requests] == [spans[1].stop - spans[0].offset, 1]


def test_a_span_that_is_damaged_is_named(bucket: str, tmp_path: Path) -> None:
    ((shard, offset, size),) = upload_shards(bucket, tmp_path / "made", 1)
    reader = ShardReader(f"{bucket}/shards", tmp_path / "cache", 0)
    with pytest.raises(MismatchError, match=f"{shard} holds other bytes at {offset} than were indexed"):
        reader.read(shard, span_of(b"\1" * size, offset))
    with pytest.raises(MismatchError, match="ends before byte"):
        reader.read(shard, Span(offset, 10**6, 0))
    with pytest.raises(NotFoundError, match="does not exist"):
        reader.read(f"{'0' * 64}.tar", Span(0, 1, 0))


def _verify_all(folder: str, shards: list[str], go: Event, log: Path) -> None:
    digest = hashlib.file_digest

    def noting(stream: Any, name: str) -> Any:
        with log.open("a") as lines:
            lines.write("verified\n")
        return digest(stream, name)

    hashlib.file_digest = noting  # type: ignore[assignment]  # of a process of its own
    go.wait(60)
    reader = ShardReader(folder)
    for shard in shards:
        read_entry(reader, shard, 512, 10)


def test_a_shard_in_a_folder_is_verified_once_by_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFRAME_CACHE", str(tmp_path / "cache"))
    shards = [write_shard(tmp_path / "shards", bytes([i]) * 100_000)[0] for i in range(3)]
    context = multiprocessing.get_context("fork")
    go, log = context.Event(), tmp_path / "log"
    arguments = (str(tmp_path / "shards"), shards, go, log)
    children = [context.Process(target=_verify_all, args=arguments) for _ in range(4)]
    for child in children:
        child.start()
    go.set()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert log.read_text().splitlines() == ["verified"] * len(shards)


def test_a_cache_that_cannot_be_written_hinders_no_reading_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shard, offset, size = write_shard(tmp_path / "shards", b"content")
    reader = ShardReader(str(tmp_path / "shards"), tmp_path / "file" / "cache")
    assert read_entry(reader, shard, offset, size) == b"content"


@pytest.mark.parametrize(("given", "size"), [("", 64 * 2**30), ("0.5", 2**29), ("0", 0)])
def test_the_environment_bounds_the_cache(monkeypatch: pytest.MonkeyPatch, given: str, size: int) -> None:
    monkeypatch.setenv("VERIFRAME_CACHE_GIB", given)
    assert default_cache_bytes() == size


@pytest.mark.parametrize("given", ["many", "-1", "inf", "nan"])
def test_a_bound_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("VERIFRAME_CACHE_GIB", given)
    with pytest.raises(SettingsError, match="VERIFRAME_CACHE_GIB"):
        ShardReader("shards")


def test_a_damaged_object_is_named_and_not_kept(bucket: str, tmp_path: Path) -> None:
    ((shard, offset, size),) = upload_shards(bucket, tmp_path / "made", 1)
    open_store(f"{bucket}/shards").write(shard, bytes(5000))
    with pytest.raises(MismatchError, match=f"{bucket}/shards/{shard} is damaged"):
        read_entry(ShardReader(f"{bucket}/shards", tmp_path / "cache"), shard, offset, size)
    assert cached(tmp_path / "cache") == set()


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten"])
def test_a_damaged_file_in_the_cache_is_fetched_again(bucket: str, tmp_path: Path, damage: str) -> None:
    ((shard, offset, size),) = upload_shards(bucket, tmp_path / "made", 1)
    reader = ShardReader(f"{bucket}/shards", tmp_path / "cache")
    read_entry(reader, shard, offset, size)
    file = tmp_path / "cache" / shard
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:700], "emptied": b"", "overwritten": bytes(len(whole))}[damage])
    assert read_entry(reader, shard, offset, size) == bytes(1000)
    assert read_entry(ShardReader(f"{bucket}/shards", tmp_path / "cache"), shard, offset, size) == bytes(1000)
    assert file.read_bytes() == whole


def test_a_missing_object_is_told(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"{bucket}/shards/0+.tar does not exist"):
        read_entry(ShardReader(f"{bucket}/shards", tmp_path / "cache"), f"{'0' * 64}.tar", 0, 1)


def _read_all(
    pickled: bytes, shards: list[tuple[str, int, int]], go: Event, queue: "multiprocessing.Queue[object]"
) -> None:
    reader: ShardReader = pickle.loads(pickled)
    go.wait()
    inodes = []
    for shard, offset, size in shards:
        data = read_entry(reader, shard, offset, size)
        assert len(set(data)) == 1 and len(data) == size
        inodes.append((default_cache() / shard).stat().st_ino)
    queue.put(inodes)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes_fetch_a_shard_once(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("VERIFRAME_CACHE", str(tmp_path / "cache"))
    shards = upload_shards(bucket, tmp_path / "made", 3, 3_000_000)
    context = multiprocessing.get_context(method)
    go, queue = context.Event(), context.Queue()
    pickled = pickle.dumps(ShardReader(f"{bucket}/shards"))
    children = [context.Process(target=_read_all, args=(pickled, shards, go, queue)) for _ in range(4)]
    for child in children:
        child.start()
    go.set()
    inodes = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    # A second download would have put another file in the first one's place.
    assert all(found == inodes[0] for found in inodes)
    assert cached(tmp_path / "cache") == {shard for shard, _, _ in shards}


@pytest.mark.parametrize("idle", [0.0, IDLE_SECONDS])
def test_many_readers_of_a_small_cache_all_get_what_they_ask_for(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idle: float
) -> None:
    monkeypatch.setattr("data.shard_cache.IDLE_SECONDS", idle)
    shards = upload_shards(bucket, tmp_path / "made", 6)
    size = (tmp_path / "made" / shards[0][0]).stat().st_size
    cache = tmp_path / "cache"

    def read(number: int) -> bool:
        reader = ShardReader(f"{bucket}/shards", cache, 2 * size)
        turns = [(number + step * 5) % 6 for step in range(12)]
        contents = {turn: bytes([turn]) * 1000 for turn in turns}
        return all(
            reader.read(shards[turn][0], span_of(contents[turn], shards[turn][1])) == [contents[turn]] for turn in turns
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(read, range(6)))
    assert len(cached(cache)) <= 2


def test_prefetch_fetches_what_fits(bucket: str, fetched: list[str], tmp_path: Path) -> None:
    shards = upload_shards(bucket, tmp_path / "made", 4)
    size = (tmp_path / "made" / shards[0][0]).stat().st_size
    reader = ShardReader(f"{bucket}/shards", tmp_path / "cache", 3 * size)
    names = [shard for shard, _, _ in shards]
    reader.prefetch([*names, *names])
    assert fetched == names[:3]
    reader.prefetch(names[:3])
    assert fetched == names[:3]


def test_prefetch_finds_damage_before_training_begins(tmp_path: Path) -> None:
    shard, _, _ = write_shard(tmp_path, b"content")
    (tmp_path / shard).write_bytes(b"damaged")
    with pytest.raises(MismatchError, match=shard):
        ShardReader(str(tmp_path)).prefetch([shard])


def test_what_a_killed_process_left_half_fetched_is_removed(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 10_000)
    abandoned, recent = tmp_path / f".{'0' * 64}.tar.abcdefgh", tmp_path / f".{'1' * 64}.tar.abcdefgh"
    abandoned.write_bytes(bytes(100))
    recent.write_bytes(bytes(100))
    os.utime(abandoned, (0, 0))
    with cache.room(f"{'2' * 64}.tar", 100) as granted:
        assert granted and not abandoned.exists() and recent.exists()


def test_an_unwritable_cache_names_its_variable(bucket: str, tmp_path: Path) -> None:
    ((shard, offset, size),) = upload_shards(bucket, tmp_path / "made", 1)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="set VERIFRAME_CACHE"):
        read_entry(ShardReader(f"{bucket}/shards", tmp_path / "file" / "cache"), shard, offset, size)


def test_the_default_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERIFRAME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/veriframe/shards")
    monkeypatch.setenv("VERIFRAME_CACHE", "/cache")
    assert default_cache() == Path("/cache")
