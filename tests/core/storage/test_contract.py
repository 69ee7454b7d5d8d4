"""What holds for every store alike: a folder and a bucket of a real S3 server."""

import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import StorageError
from core.storage import NotFoundError, PreconditionFailedError, Store, join, open_store


@pytest.fixture(params=["file", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of an empty place."""
    return f"file://{tmp_path}/root" if request.param == "file" else str(request.getfixturevalue("bucket"))


@pytest.fixture
def store(root: str) -> Store:
    return open_store(f"{root}/base")


def keys(store: Store, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


def test_an_object_reads_back_as_it_was_written(store: Store) -> None:
    store.write("a/b.bin", bytes(range(256)))
    assert store.read("a/b.bin") == bytes(range(256))


def test_a_range_is_read_alone(store: Store) -> None:
    store.write("digits", b"0123456789")
    assert store.read("digits", 3, 4) == b"3456"
    assert store.read("digits", 7) == b"789"


@pytest.mark.parametrize(("offset", "size", "expected"), [(8, 10, b"89"), (10, 5, b""), (99, None, b""), (0, 0, b"")])
def test_a_range_ends_with_the_object(store: Store, offset: int, size: int | None, expected: bytes) -> None:
    store.write("digits", b"0123456789")
    assert store.read("digits", offset, size) == expected


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.write("empty", b"")
    found = store.head("empty")
    assert found is not None and found.size == 0
    assert store.read("empty") == b""
    with store.open("empty") as stream:
        assert stream.read() == b""


def test_head_and_list_agree(store: Store) -> None:
    store.write("folder/one", b"1")
    assert list(store.list()) == [store.head("folder/one")]


def test_the_etag_changes_with_every_content_and_is_what_write_returned(store: Store) -> None:
    etags = []
    for content in (b"a", b"b", b"c"):
        etags.append(store.write("key", content))
        found = store.head("key")
        assert found is not None and found.etag == etags[-1]
    assert len(set(etags)) == 3


def test_a_missing_object_is_told_apart_from_an_error(store: Store) -> None:
    assert store.head("nothing") is None
    for read in (lambda: store.read("nothing"), lambda: store.open("nothing").__enter__()):
        with pytest.raises(NotFoundError, match="nothing does not exist"):
            read()


def test_a_stream_reads_in_pieces_and_seeks(store: Store) -> None:
    data = bytes(i % 251 for i in range(3 * 2**20))
    store.write("big", data)
    with store.open("big") as stream:
        assert stream.read(10) == data[:10]
        assert stream.seek(2**21) == 2**21
        assert stream.read(10) == data[2**21 : 2**21 + 10]
        assert stream.seek(-5, 2) == len(data) - 5
        assert stream.read() == data[-5:]
        stream.seek(0)
        assert stream.read() == data


def test_keys_of_any_characters_are_listed_once_at_any_depth(store: Store) -> None:
    names = ["b", "a/x", "a.txt", "a-b/c", "a0", "A", "é/ü", "z/1/2/3", "ﬀ", "😀", "with space", "per%cent", "q?&=+#"]
    for name in names:
        store.write(name, name.encode())
    assert sorted(keys(store)) == sorted(names)
    assert [store.read(key) for key in keys(store)] == [key.encode() for key in keys(store)]


def test_a_prefix_may_end_within_a_name(store: Store) -> None:
    for name in ("train/1", "train_images/2", "tra", "test/3", "train/4/5"):
        store.write(name, b"")
    assert keys(store, "train") == ["train/1", "train/4/5", "train_images/2"]
    assert keys(store, "train/") == ["train/1", "train/4/5"]
    assert keys(store, "train/4/") == ["train/4/5"]
    assert keys(store, "nothing/at/all") == []


def test_a_store_sees_only_what_is_under_its_own_root(root: str, store: Store) -> None:
    open_store(root).write("base2/other", b"")
    open_store(root).write("base-3", b"")
    store.write("mine", b"")
    assert keys(store) == ["mine"]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert keys(store) == []


ESCAPES = ["../x", "a/../../x", "..", "/etc/passwd", "", ".", "a//b", "a/", "./a", "a\0b"]


@pytest.mark.parametrize("key", ESCAPES)
def test_no_key_leads_out_of_the_root(store: Store, tmp_path: Path, key: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1")
    uses: list[Callable[[], object]] = [
        lambda: store.read(key),
        lambda: store.head(key),
        lambda: store.open(key).__enter__(),
        lambda: store.write(key, b"1"),
        lambda: store.upload(source, key),
        lambda: store.download(key, tmp_path / "target"),
        lambda: store.delete(key),
    ]
    for use in uses:
        with pytest.raises(StorageError, match="is no key under"):
            use()


def test_if_absent_writes_once(store: Store) -> None:
    store.write("pointer", b"first", if_absent=True)
    with pytest.raises(PreconditionFailedError, match="pointer"):
        store.write("pointer", b"second", if_absent=True)
    assert store.read("pointer") == b"first"


def test_if_match_replaces_only_the_version_that_was_seen(store: Store) -> None:
    first = store.write("pointer", b"first")
    store.write("pointer", b"second", if_match=first)
    with pytest.raises(PreconditionFailedError, match="pointer"):
        store.write("pointer", b"third", if_match=first)
    assert store.read("pointer") == b"second"


def test_if_match_fails_where_nothing_is(store: Store) -> None:
    with pytest.raises(PreconditionFailedError):
        store.write("pointer", b"x", if_match="0123")
    assert store.head("pointer") is None


def test_of_many_conditional_writers_one_wins(store: Store) -> None:
    barrier = threading.Barrier(8)

    def claim(number: int) -> bool:
        barrier.wait()
        try:
            store.write("claim", b"%d" % number, if_absent=True)
        except PreconditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))
    assert won.count(True) == 1
    assert store.read("claim") == b"%d" % won.index(True)


def test_files_travel_there_and_back(store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(b"content" * 1000)
    store.upload(source, "in/it", progress=True)
    store.download("in/it", target, progress=True)
    assert target.read_bytes() == source.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_failed_download_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(NotFoundError):
        store.download("nothing", target)
    assert target.read_bytes() == b"old"


def test_a_missing_source_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*no-such-file"):
        store.upload(tmp_path / "no-such-file", "key")


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.write("key", b"1")
    store.delete("key")
    store.delete("key")
    assert store.head("key") is None


def _read_elsewhere(pickled: bytes, queue: "multiprocessing.Queue[bytes]") -> None:
    queue.put(pickle.loads(pickled).read("key"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_in_use_can_be_used_by_other_processes(store: Store, method: str) -> None:
    store.write("key", b"shared")
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_read_elsewhere, args=(pickle.dumps(store), queue))
    child.start()
    assert queue.get(timeout=60) == b"shared"
    child.join(60)
    assert child.exitcode == 0


def test_uris_join_with_single_slashes(root: str, store: Store) -> None:
    assert store.uri == join(f"{root}/", "base/", "")
    open_store(join(store.uri, "deep/", "/er")).write("key", b"1")
    assert keys(store) == ["deep/er/key"]
