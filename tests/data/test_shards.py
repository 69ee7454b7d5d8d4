"""Shards: what is written reads back, by offsets and by other people's readers; damage is noticed."""

import hashlib
import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MismatchError, StorageError
from core.storage import NotFoundError
from data.fragments import FragmentWriter, assemble
from data.shards import ShardReader
from tests.data.shard_files import SCRATCH, Entries, read_entry, write_fragments, write_shard

part = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
long_part = st.integers(80, 400).map(lambda length: "n" * length)
name = st.lists(part | long_part, min_size=1, max_size=3).map("/".join)
content = st.binary(max_size=2000)
fragments = st.lists(st.lists(st.tuples(name, content), max_size=4), max_size=5)


# What WebDataset takes as a sample: entries of one key (all before the first dot of the last part), each its extension.
key = st.text("abcdefghij0123456789_-", min_size=1, max_size=30).filter(lambda text: not text.startswith("__"))
samples = st.dictionaries(key, st.tuples(content, content), min_size=1, max_size=8)


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
