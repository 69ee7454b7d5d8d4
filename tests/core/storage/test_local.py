"""What only a folder has: links, permissions, other kinds of files, half-written ones."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StorageError
from core.files import atomic_write
from core.storage import open_store
from core.storage.local import FileStore

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 60
)
keys = st.lists(names, min_size=1, max_size=3).map("/".join)


@settings(max_examples=60, deadline=None)
@given(st.sets(keys, max_size=12), st.text("ab./-0", max_size=3))
def test_any_keys_are_listed_in_the_order_of_their_bytes(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str
) -> None:
    store = FileStore(tmp_path_factory.mktemp("store"))
    written = set()
    for key in sorted(keys):
        if not any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in written):
            (store.root / key).parent.mkdir(parents=True, exist_ok=True)
            (store.root / key).touch()
            written.add(key)
    expected = sorted(written, key=lambda key: key.encode())
    assert [found.key for found in store.list()] == expected
    if ".." not in prefix and "./" not in prefix and not prefix.startswith("/") and "//" not in prefix:
        assert [found.key for found in store.list(prefix)] == [key for key in expected if key.startswith(prefix)]


def test_a_file_uri_may_hold_escaped_characters(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "with space and %41")
    store.write("key", b"1")
    assert "%20" in store.uri
    assert open_store(store.uri).read("key") == b"1"


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("there")
    monkeypatch.chdir("/")
    store.write("key", b"1")
    assert (tmp_path / "there" / "key").read_bytes() == b"1"


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "picture").write_bytes(b"1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "data")
    (root / "up").symlink_to(root)
    (root / "nowhere").symlink_to(tmp_path / "gone")
    assert [found.key for found in FileStore(root).list()] == ["linked/picture", "nowhere"]
    with pytest.raises(StorageError, match="nowhere"):
        FileStore(root).read("nowhere")


@pytest.mark.timeout(10)
def test_a_pipe_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        FileStore(tmp_path).read("pipe")


def test_a_folder_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert FileStore(tmp_path).head("folder") is None
    with pytest.raises(StorageError, match="not a regular file"):
        FileStore(tmp_path).read("folder")


def test_a_file_that_is_being_written_is_not_listed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    with atomic_write(tmp_path / "picture.png") as stream:
        stream.write(b"half")
        assert len(list(tmp_path.iterdir())) == 1
        assert list(store.list()) == []
    assert [found.key for found in store.list()] == ["picture.png"]


@pytest.fixture
def not_root() -> Iterator[Path]:
    """A folder of a user whom permissions bind, whose tests these are for a while."""
    with TemporaryDirectory() as folder:
        root = os.geteuid() == 0
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield Path(folder)
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_is_named(not_root: Path) -> None:
    store = FileStore(not_root)
    store.write("closed/picture", b"1")
    (not_root / "closed" / "picture").chmod(0)
    with pytest.raises(StorageError, match=r"cannot read .*picture.*permissions"):
        store.read("closed/picture")
    (not_root / "closed").chmod(0)
    with pytest.raises(StorageError, match=r"cannot list .*closed.*permissions"):
        list(store.list())
    with pytest.raises(StorageError, match=r"cannot write .*closed"):
        store.write("closed/other", b"1")
    (not_root / "closed").chmod(0o700)
    assert [found.key for found in store.list()] == ["closed/picture"]


def test_the_same_bytes_written_again_are_another_version(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert store.write("key", b"1") != store.write("key", b"1")
