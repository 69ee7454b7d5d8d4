from pathlib import Path

import pytest

from bundle import BUNDLE_FILE, Figures, Pointer, fetch_release, read_bundle, read_pointer
from bundle.releases import POINTER_FILE, release_uri
from core.errors import MismatchError, SettingsError
from core.storage import open_store


@pytest.fixture
def root(bundle: Path, tmp_path: Path) -> str:
    """A store in which the bundle is the current release."""
    read = read_bundle(bundle)
    store = open_store(release_uri(str(tmp_path / "store"), "tiny"))
    for name in [BUNDLE_FILE, *(file.path for file in read.document.all_files())]:
        store.upload(bundle / name, f"1/{name}")
    pointer = Pointer(
        name="tiny",
        version="1",
        bundle_sha256=read.sha256,
        figures=Figures(
            task="regions",
            values={"f1": 0.5, "authentic_fpr": 0.0, "robustness": None},
            dataset_sha256="0" * 64,
            degradations=(),
        ),
        evaluation_sha256="0" * 64,
    )
    store.write(POINTER_FILE, pointer.to_json().encode())
    return str(tmp_path / "store")


def altered(root: str, key: str) -> Path:
    path = Path(root) / "releases" / "tiny" / key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def test_nothing_published_has_no_pointer(tmp_path: Path) -> None:
    assert read_pointer(str(tmp_path), "tiny") is None
    with pytest.raises(MismatchError, match="publish a bundle there first"):
        fetch_release(str(tmp_path), "tiny", tmp_path / "fetched")


def test_the_current_release_is_fetched_and_verified(root: str, bundle: Path, tmp_path: Path) -> None:
    fetched = fetch_release(root, "tiny", tmp_path / "fetched")
    assert fetched.sha256 == read_bundle(bundle).sha256
    assert (tmp_path / "fetched" / "members" / "ela" / "model.ts").read_bytes() == (
        bundle / "members" / "ela" / "model.ts"
    ).read_bytes()


def test_files_that_are_right_already_are_not_fetched_again(root: str, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    fetch_release(root, "tiny", folder)
    kept = (folder / "card.md").stat().st_ino
    (folder / "members" / "ela" / "model.onnx").write_bytes(b"cut off")
    fetch_release(root, "tiny", folder)
    assert (folder / "card.md").stat().st_ino == kept
    read_bundle(folder)


def test_a_release_can_be_named_by_its_version(root: str, tmp_path: Path) -> None:
    assert fetch_release(root, "tiny", tmp_path / "fetched", version="1").document.version == "1"
    with pytest.raises(MismatchError, match="releases/tiny/2 holds no bundle"):
        fetch_release(root, "tiny", tmp_path / "there", version="2")


def test_a_document_that_is_not_the_one_pointed_at_is_refused(root: str, tmp_path: Path) -> None:
    path = Path(root) / "releases" / "tiny" / "1" / BUNDLE_FILE
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(MismatchError, match=r"bundle\.json has sha256 .* expects"):
        fetch_release(root, "tiny", tmp_path / "fetched")


def test_an_altered_file_of_a_release_is_refused_by_name(root: str, tmp_path: Path) -> None:
    altered(root, "1/members/colour/model.ts")
    with pytest.raises(MismatchError, match=r"members/colour/model\.ts"):
        fetch_release(root, "tiny", tmp_path / "fetched")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"name": "tiny", "version": "../../x"}'])
def test_a_pointer_that_cannot_be_followed_is_refused(root: str, content: bytes) -> None:
    (Path(root) / "releases" / "tiny" / POINTER_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match=r"current\.json"):
        read_pointer(root, "tiny")
