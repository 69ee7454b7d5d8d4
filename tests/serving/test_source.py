import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle import read_bundle
from core.errors import MismatchError, SettingsError, VeriframeError
from serving.source import fetch_bundle

Publish = Callable[[str, Path], None]


def test_a_folder_is_verified_where_it_lies(tiny_bundle: Path, tmp_path: Path) -> None:
    assert fetch_bundle(str(tiny_bundle), tmp_path / "unused").document.name == "tiny"
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("kind", ["path", "file", "s3"])
def test_a_release_is_fetched_by_pointer_and_by_version(
    kind: str, tiny_bundle: Path, tmp_path: Path, publish: Publish, request: pytest.FixtureRequest
) -> None:
    root = {"path": str(tmp_path / "store"), "file": f"file://{tmp_path}/store"}.get(kind)
    root = root or request.getfixturevalue("bucket")
    publish(root, tiny_bundle)
    by_pointer = fetch_bundle(f"{root}/releases/tiny/current.json", tmp_path / "a")
    by_version = fetch_bundle(f"{root}/releases/tiny/1", tmp_path / "b")
    assert by_pointer.sha256 == by_version.sha256 == read_bundle(tiny_bundle).sha256


def test_a_cache_that_holds_another_bundle_does_not_mix_with_it(
    tiny_bundle: Path, tmp_path: Path, publish: Publish
) -> None:
    root = str(tmp_path / "store")
    publish(root, tiny_bundle)
    cache = tmp_path / "cache"
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "bundle.json").write_text("{}")
    assert fetch_bundle(f"{root}/releases/tiny/current.json", cache).document.version == "1"


def test_a_pointer_to_an_altered_bundle_is_refused(tiny_bundle: Path, tmp_path: Path, publish: Publish) -> None:
    root = tmp_path / "store"
    publish(str(root), tiny_bundle)
    stored = root / "releases" / "tiny" / "1" / "bundle.json"
    document = json.loads(stored.read_text())
    stored.write_text(json.dumps(document | {"git_sha": "other"}))
    with pytest.raises(MismatchError, match=r"bundle\.json"):
        fetch_bundle(f"{root}/releases/tiny/current.json", tmp_path / "cache")


@pytest.mark.parametrize(
    ("uri", "error", "says"),
    [
        ("s3://bucket/bundle", SettingsError, "releases/<name>"),
        ("ftp://host/releases/a/1", SettingsError, "unknown scheme"),
        ("/nowhere/at/all", MismatchError, "no bundle.json"),
        ("/nowhere/releases/tiny/current.json", VeriframeError, "current.json"),
    ],
)
def test_a_place_without_a_bundle_is_named(uri: str, error: type[Exception], says: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        fetch_bundle(uri, tmp_path)
