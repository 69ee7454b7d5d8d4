"""Shards: what is written reads back, by offsets and by other people's readers; damage is noticed."""

import hashlib
import io
import multiprocessing
import os
import pickle
import random
import tarfile
import threading
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MismatchError, SettingsError, StorageError
from core.storage import NotFoundError, open_store
from core.storage.s3 import S3Store
from data.fragments import FragmentWriter, assemble
from data.shard_cache import IDLE_SECONDS, ShardCache
from data.shards import GAP_BYTES, ShardReader, Span, default_cache, default_cache_bytes

Entries = list[tuple[str, bytes]]

part = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
long_part = st.integers(80, 400).map(lambda length: "n" * length)
name = st.lists(part | long_part, min_size=1, max_size=3).map("/".join)
content = st.binary(max_size=2000)
fragments = st.lists(st.lists(st.tuples(name, content), max_size=4), max_size=5)

# In memory where that is possible: every file is synced to its disk.
SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None

# What WebDataset takes as a sample: entries of one key (all before the first dot of the last part), each its extension.
key = st.text("abcdefghij0123456789_-", min_size=1, max_size=30).filter(lambda text: not text.startswith("__"))
samples = st.dictionaries(key, st.tuples(content, content), min_size=1, max_size=8)


def read_entry(reader: ShardReader, shard: str, offset: int, size: int) -> bytes:
    """What lies there, whatever it should be."""
    (data,) = reader.read(shard, Span(offset, size, 0))
    return data


def write_fragments(folder: Path, pieces: Iterable[Entries]) -> tuple[list[Path], list[list[tuple[int, int]]]]:
    paths, places = [], []
    for number, entries in enumerate(pieces):
        paths.append(folder / f"fragment-{number}")
        with FragmentWriter(paths[-1]) as writer:
            places.append([writer.add(name, data) for name, data in entries])
        assert paths[-1].stat().st_size == writer.size
    return paths, places


def write_shard(folder: Path, data: bytes, label: str = "entry.bin") -> tuple[str, int, int]:
    """Write a shard with one entry to ``folder`` and return its name and where the entry lies."""
    with TemporaryDirectory(dir=SCRATCH) as scratch:
        (path,), ((place,),) = write_fragments(Path(scratch), [[(label, data)]])
        (assembled,) = assemble([path], folder)
    return assembled.shard_name, *place


@settings(max_examples=60, deadline=None)
@given(fragments, st.integers(1024, 20_000))
def test_whatever_is_written_reads_back(pieces: list[Entries], target: int) -> None:
    # Each entry's name says where it was written, so that no two shards are equal and thus one file.
    pieces = [[(f"{i}-{j}-{name}", data) for j, (name, data) in enumerate(piece)] for i, piece in enumerate(pieces)]
    with TemporaryDirectory(dir=SCRATCH) as scratch:
        folder = Path(scratch)
        paths, places = write_fragments(folder, pieces)
        assembled = list(assemble(paths, folder / "shards", target))
        assert [one.path for one in assembled] == paths
        reader = ShardReader(str(folder / "shards"))
        in_shards: dict[str, Entries] = {}
        for one, entries, found in zip(assembled, pieces, places, strict=True):
            in_shards.setdefault(one.shard_name, []).extend(entries)
            for (_, data), (offset, size) in zip(entries, found, strict=True):
                assert read_entry(reader, one.shard_name, one.base_offset + offset, size) == data
        assert sorted(path.name for path in (folder / "shards").glob("*")) == sorted(in_shards)
        for shard, expected in in_shards.items():
            raw = (folder / "shards" / shard).read_bytes()
            assert shard == f"{hashlib.sha256(raw).hexdigest()}.tar"
            with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
                members = archive.getmembers()
                read = [(member.name, archive.extractfile(member).read()) for member in members]  # type: ignore[union-attr]
            assert read == expected


@settings(max_examples=25, deadline=None)
@given(samples, st.integers(1024, 8000))
def test_webdataset_reads_the_samples(contents: dict[str, tuple[bytes, bytes]], target: int) -> None:
    import webdataset  # not above: it imports torch, which the processes that other tests spawn would wait for

    with TemporaryDirectory(dir=SCRATCH) as scratch:
        folder = Path(scratch)
        pieces = [[(f"{key}.jpg", picture), (f"{key}.mask.png", mask)] for key, (picture, mask) in contents.items()]
        paths, _ = write_fragments(folder, pieces)
        shards = list(dict.fromkeys(one.shard_name for one in assemble(paths, folder / "shards", target)))
        read = webdataset.WebDataset(
            [str(folder / "shards" / shard) for shard in shards], shardshuffle=False, empty_check=False
        )
        assert [(s["__key__"], (s["jpg"], s["mask.png"])) for s in read] == list(contents.items())


@settings(max_examples=25, deadline=None)
@given(fragments)
def test_equal_entries_give_equal_shards(pieces: list[Entries]) -> None:
    named = []
    for _ in range(2):
        with TemporaryDirectory(dir=SCRATCH) as scratch:
            paths, _ = write_fragments(Path(scratch), pieces)
            named.append([(one.shard_name, one.base_offset) for one in assemble(paths, Path(scratch) / "s", 4096)])
    assert named[0] == named[1]


def test_a_shard_closes_before_the_fragment_that_would_make_it_too_large(tmp_path: Path) -> None:
    paths, _ = write_fragments(tmp_path, [[("a", bytes(1024))]] * 5 + [[("b", bytes(9000))]])
    assembled = list(assemble(paths, tmp_path / "shards", 2 * 1536 + 1024))
    sizes = [(tmp_path / "shards" / name).stat().st_size for name in dict.fromkeys(a.shard_name for a in assembled)]
    assert [one.base_offset for one in assembled] == [0, 1536, 0, 1536, 0, 0]
    assert sizes == [4096, 2560, 10752], "the first two shards hold the same bytes and so are one file"


def test_shards_come_one_after_the_other_so_that_they_can_be_moved_away(tmp_path: Path) -> None:
    paths, _ = write_fragments(tmp_path, [[("a", b"%d" % i)] for i in range(4)])
    stream = assemble(paths, tmp_path / "shards", 1)
    for _ in range(4):
        one = next(stream)
        assert [path.name for path in (tmp_path / "shards").iterdir()] == [one.shard_name]
        (tmp_path / "shards" / one.shard_name).unlink()
    assert list(stream) == []


def test_no_fragments_give_no_shards(tmp_path: Path) -> None:
    assert list(assemble([], tmp_path / "shards")) == []


def test_a_missing_fragment_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"fragment .*gone"):
        list(assemble([tmp_path / "gone"], tmp_path / "shards"))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\0b", "."])
def test_an_entry_cannot_leave_the_folder_it_is_unpacked_in(tmp_path: Path, name: str) -> None:
    with FragmentWriter(tmp_path / "fragment") as writer, pytest.raises(StorageError, match="cannot name an entry"):
        writer.add(name, b"")


def test_a_fragment_that_fails_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), FragmentWriter(tmp_path / "fragment") as writer:
        writer.add("a", b"1")
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="with block"):
        writer.add("b", b"2")


# Reading in place.


def test_a_damaged_shard_is_named_and_not_read(tmp_path: Path) -> None:
    shard, offset, size = write_shard(tmp_path, b"content")
    damaged = bytearray((tmp_path / shard).read_bytes())
    damaged[offset] ^= 1
    (tmp_path / shard).write_bytes(damaged)
    with pytest.raises(MismatchError, match=shard):
        read_entry(ShardReader(str(tmp_path)), shard, offset, size)
    assert read_entry(ShardReader(str(tmp_path), verify=False), shard, offset, size) == b"bontent"


def test_a_shard_damaged_after_it_was_verified_is_noticed(tmp_path: Path) -> None:
    shard, offset, size = write_shard(tmp_path / "shards", b"content")
    for cache in (None, tmp_path / "cache"):
        reader = ShardReader(str(tmp_path / "shards"), cache)
        assert read_entry(reader, shard, offset, size) == b"content"
    whole = (tmp_path / "shards" / shard).read_bytes()
    (tmp_path / "shards" / shard).write_bytes(whole[:-1] + b"x")
    for old in (reader, ShardReader(str(tmp_path / "shards"), tmp_path / "cache")):
        with pytest.raises(MismatchError, match=shard):
            read_entry(old, shard, offset, size)


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist; extract again"):
        read_entry(ShardReader(str(tmp_path)), f"{'0' * 64}.tar", 0, 1)


@pytest.mark.parametrize("shard", ["../secret", "shard.tar", "", "0" * 64, "/" + "0" * 64 + ".tar"])
def test_only_a_hash_is_a_shards_name(tmp_path: Path, shard: str) -> None:
    with pytest.raises(MismatchError, match="no shard's name"):
        read_entry(ShardReader(str(tmp_path)), shard, 0, 1)


def test_a_place_behind_the_end_says_that_index_and_shards_differ(tmp_path: Path) -> None:
    shard, offset, _ = write_shard(tmp_path, b"content")
    with pytest.raises(MismatchError, match="index and shards do not belong together"):
        read_entry(ShardReader(str(tmp_path)), shard, offset, 10**6)


def test_a_reader_keeps_no_file_open(tmp_path: Path) -> None:
    shard, offset, size = write_shard(tmp_path, b"content")
    reader = ShardReader(str(tmp_path))
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(100):
        read_entry(reader, shard, offset, size)
    assert set(Path("/proc/self/fd").iterdir()) == before


# Fetching from S3 into the bounded cache.


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
    pickled: bytes, shards: list[tuple[str, int, int]], go: "threading.Event", queue: "multiprocessing.Queue[object]"
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
