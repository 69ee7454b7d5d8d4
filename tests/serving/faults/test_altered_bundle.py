"""A bundle that is not what its document says is not served."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle import BUNDLE_FILE, seal
from bundle.document import SEAL
from core.errors import MismatchError, VeriframeError
from serving.process import ServerProcess
from serving.service import Service

Start = Callable[..., ServerProcess]
Refusal = Callable[[ServerProcess], str]
NETWORKS = {"onnx": "model.onnx", "torchscript": "model.ts"}


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def load(bundle: Path, make_service: Callable[..., Service]) -> Callable[..., Service]:
    """Loads the copy as the process does that serves it."""
    return lambda **options: make_service(bundle=str(bundle), **options)


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / BUNDLE_FILE).read_bytes())
    del document[SEAL]
    change(document)
    (folder / BUNDLE_FILE).write_bytes(seal(document))


def replace(folder: Path, member: int, kind: str, data: bytes) -> None:
    """Replace a network, and its hash and size in the document too."""

    def agree(document: dict[str, Any]) -> None:
        file = document["members"][member]["networks"]["model"]["files"][kind]
        (folder / file["path"]).write_bytes(data)
        file |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    edit(folder, agree)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("members/colour/model.onnx", "is not the file that bundle.json describes"),
        ("members/ela/model.ts", "is not the file that bundle.json describes"),
        ("card.md", "is not the file that bundle.json describes"),
        (BUNDLE_FILE, "was altered or damaged"),
    ],
)
def test_a_file_altered_by_one_byte_is_refused_by_name(
    bundle: Path, start: Start, refusal: Refusal, name: str, says: str
) -> None:
    data = bytearray((bundle / name).read_bytes())
    # Of the document a digit of a threshold, which is as good a threshold afterwards.
    place = data.index(b'"threshold": 0.5') + 15 if name == BUNDLE_FILE else len(data) // 2
    data[place] ^= 1
    (bundle / name).write_bytes(data)
    # Whichever runtime is asked for, all files are verified: the bundle is what was judged, or it is not.
    log = refusal(start(bundle, runtime="onnx"))
    assert f"{name} {says}" in log


def test_a_bundle_other_than_the_one_asked_for_is_refused(bundle: Path, start: Start, refusal: Refusal) -> None:
    edit(bundle, lambda document: document["decision"].update(threshold=0.9))
    log = refusal(start(bundle, bundle_sha256="0" * 64))
    assert f"{BUNDLE_FILE} has sha256" in log
    assert "bundle_sha256" in log


def test_a_hash_in_the_document_altered_by_one_byte_is_refused_by_name(
    bundle: Path, start: Start, refusal: Refusal
) -> None:
    def flip(document: dict[str, Any]) -> None:
        file = document["members"][1]["networks"]["model"]["files"]["onnx"]
        file["sha256"] = ("0" if file["sha256"][0] != "0" else "1") + file["sha256"][1:]

    edit(bundle, flip)
    assert f"members/ela/model.onnx is not the file that {BUNDLE_FILE} describes" in refusal(start(bundle))


def test_the_network_of_another_member_ends_the_process(bundle: Path, start: Start, refusal: Refusal) -> None:
    replace(bundle, 1, "onnx", (bundle / "members/colour/model.onnx").read_bytes())
    assert "members/ela/model.onnx is the network of" in refusal(start(bundle))


@pytest.mark.parametrize("name", [BUNDLE_FILE, "card.md", "members/ela/model.onnx"])
def test_a_missing_file_is_refused_by_name(bundle: Path, load: Callable[..., Service], name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(MismatchError, match=f"{name} is missing|has no {name}"):
        load()


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": "tiny"}', b"\xff\xfe", b"[" * 100_000])
def test_a_document_that_cannot_be_read_is_refused_by_name(
    bundle: Path, load: Callable[..., Service], content: bytes
) -> None:
    (bundle / BUNDLE_FILE).write_bytes(content)
    with pytest.raises(VeriframeError, match=BUNDLE_FILE):
        load()


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_the_network_of_another_member_is_refused_whatever_its_hash(
    bundle: Path, load: Callable[..., Service], kind: str
) -> None:
    replace(bundle, 1, kind, (bundle / "members/colour" / NETWORKS[kind]).read_bytes())
    with pytest.raises(MismatchError, match=f"members/ela/{NETWORKS[kind]} is the network of"):
        load(runtime=kind)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("data", [b"", b"this is no network"])
def test_a_file_that_is_no_network_is_refused_though_its_hash_is_right(
    bundle: Path, load: Callable[..., Service], kind: str, data: bytes
) -> None:
    replace(bundle, 0, kind, data)
    with pytest.raises(MismatchError, match=f"members/colour/{NETWORKS[kind]} cannot be opened"):
        load(runtime=kind)
