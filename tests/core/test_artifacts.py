from pathlib import Path

import pytest

from core.artifacts import MANIFEST, fetch, fetch_all, keep
from core.errors import MismatchError, SettingsError
from core.storage import NotFoundError, join, open_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / ".work").mkdir(parents=True)
    (made / ".work/lock").touch()
    (made / "index.parquet").write_bytes(b"rows")
    (made / "spec.json").write_text("{}")
    return made


def test_what_is_kept_comes_back_from_its_address(folder: Path, tmp_path: Path) -> None:
    address = keep(folder, str(tmp_path / "store/indexes/faces"))
    found = fetch(address, tmp_path / "fetched")
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        "index.parquet": b"rows", "spec.json": b"{}"
    }  # fmt: skip


@pytest.mark.s3
def test_a_list_of_addresses_in_s3_is_a_string(folder: Path, bucket: str, tmp_path: Path) -> None:
    first = keep(folder, join(bucket, "indexes/first"))
    (folder / "index.parquet").write_bytes(b"other rows")
    second = keep(folder, join(bucket, "indexes/second"))
    found = fetch_all(f"{first},{second}", tmp_path / "fetched")
    assert [(path / "index.parquet").read_bytes() for path in found] == [b"rows", b"other rows"]
    assert fetch_all("", tmp_path) == []


def test_the_address_follows_from_the_content_alone(folder: Path, tmp_path: Path) -> None:
    address = keep(folder, str(tmp_path / "store"))
    written = (tmp_path / "store").stat().st_mtime_ns, open_store(address).head(MANIFEST)
    assert keep(folder, str(tmp_path / "store")) == address
    assert ((tmp_path / "store").stat().st_mtime_ns, open_store(address).head(MANIFEST)) == written
    (folder / "spec.json").write_text('{"changed": 1}')
    assert keep(folder, str(tmp_path / "store")) != address


def test_what_was_not_kept_to_its_end_is_kept_again(folder: Path, tmp_path: Path) -> None:
    address = keep(folder, str(tmp_path / "store"))
    open_store(address).delete(MANIFEST)
    with pytest.raises(NotFoundError):
        fetch(address, tmp_path / "fetched")
    assert keep(folder, str(tmp_path / "store")) == address
    assert fetch(address, tmp_path / "fetched").is_dir()


@pytest.mark.parametrize("name", ["index.parquet", MANIFEST])
def test_what_was_changed_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    address = keep(folder, str(tmp_path / "store"))
    open_store(address).write(name, b'{"index.parquet": "0"}')
    with pytest.raises(MismatchError, match=name):
        fetch(address, tmp_path / "fetched")


def test_a_place_that_would_cut_a_list_in_two_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must hold no ','"):
        keep(folder, str(tmp_path / "a,b"))
