import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.face_bundles import write_tiny_face_bundle
from bundle import BUNDLE_FILE, Bundle, read_bundle
from bundle.faces.verdict import FaceDecision
from bundle.reading import parse_bundle
from core.errors import MismatchError, SettingsError, StorageError
from core.files import sha256_file
from core.storage import open_store

Rewrite = Callable[[Path, Callable[[dict[str, Any]], None]], None]
FILES = ["card.md", *(f"members/{name}/{file}" for name in ("colour", "ela") for file in ("model.onnx", "model.ts"))]


def model_of(document: dict[str, Any]) -> dict[str, Any]:
    network: dict[str, Any] = document["members"][0]["networks"]["model"]
    return network


def test_a_bundle_that_was_not_touched_is_read(bundle: Path) -> None:
    read = read_bundle(bundle)
    assert [member.name for member in read.document.members] == ["colour", "ela"]
    assert read.sha256 == sha256_file(bundle / BUNDLE_FILE)
    assert [file.path for file in read.document.all_files()] == sorted(FILES)


def test_a_bundle_is_read_from_a_store_as_from_a_folder(bundle: Path) -> None:
    assert read_bundle(open_store(bundle.as_uri())).sha256 == read_bundle(bundle).sha256


def test_the_document_is_read_back_as_it_was_written(bundle: Path) -> None:
    assert read_bundle(bundle).document.to_document() == (bundle / BUNDLE_FILE).read_bytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), place=st.integers(0, 10**9), flip=st.integers(1, 255))
def test_one_altered_byte_anywhere_is_refused_and_the_file_named(
    bundle: Path, name: str, place: int, flip: int
) -> None:
    original = (bundle / name).read_bytes()
    altered = bytearray(original)
    altered[place % len(altered)] ^= flip
    (bundle / name).write_bytes(altered)
    try:
        with pytest.raises(MismatchError, match=name):
            read_bundle(bundle)
    finally:
        (bundle / name).write_bytes(original)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_or_grown_or_missing_is_named(bundle: Path, name: str) -> None:
    original = (bundle / name).read_bytes()
    for content in (original[:-1], original + b"\0", b""):
        (bundle / name).write_bytes(content)
        with pytest.raises(MismatchError, match=name):
            read_bundle(bundle)
    (bundle / name).unlink()
    with pytest.raises(MismatchError, match=f"{name} is missing"):
        read_bundle(bundle)


def test_a_folder_without_a_document_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"is no bundle: it has no bundle\.json"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../outside",
        "members/../../outside",
        "members/colour/..",
        "./card.md",
        "members//model.ts",
        "members\\colour\\model.ts",
        "C:/model.ts",
        "",
        ".",
        "members/colour/model.ts\n",
        "file:///etc/passwd",
        "model.ts\0",
        "a" * 200,
    ],
)
def test_a_path_that_could_leave_the_bundle_is_refused(bundle: Path, rewrite: Rewrite, path: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["members"][0]["networks"]["model"]["files"]["torchscript"]["path"] = path

    rewrite(bundle, edit)
    with pytest.raises(SettingsError, match=r"members\.0\.networks\.model\.files\.torchscript\.path"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "-rf", "a b"])
def test_a_name_that_could_not_be_a_folder_is_refused(bundle: Path, rewrite: Rewrite, name: str) -> None:
    rewrite(bundle, lambda document: document.update(name=name))
    with pytest.raises(SettingsError, match="name"):
        read_bundle(bundle)


def test_a_link_out_of_the_bundle_is_only_as_good_as_its_hash(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"something else")
    (bundle / "card.md").unlink()
    (bundle / "card.md").symlink_to(outside)
    with pytest.raises(MismatchError, match=r"card\.md"):
        read_bundle(bundle)


def test_a_folder_in_place_of_a_file_is_an_error_of_storage(bundle: Path) -> None:
    (bundle / "card.md").unlink()
    (bundle / "card.md").mkdir()
    with pytest.raises(StorageError, match=r"card\.md"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d.pop("card"), "card"),
        (lambda d: d.update(format_version=1), "format_version"),
        (lambda d: d.update(members=[]), "members"),
        (lambda d: d["members"][0].update(weight=0.5), "weights must sum to 1"),
        (lambda d: d["members"][0].update(weight=-0.75), "weight"),
        (lambda d: d["members"][0].update(temperature=0), "temperature"),
        (lambda d: d["members"][1].update(name="colour"), "same name"),
        (lambda d: d["members"][0]["networks"]["model"]["files"].pop("onnx"), "same formats"),
        (lambda d: model_of(d)["files"]["onnx"].update(sha256="ABC"), "sha256"),
        (lambda d: model_of(d)["files"]["onnx"].update(path="card.md"), "used twice"),
        (lambda d: d["card"].update(path="bundle.json"), "used twice"),
        (lambda d: d["decision"].update(threshold=1.5), r"decision: .*\n.*threshold = 1\.5"),
        (lambda d: d["members"][1]["decision"].update(surprise=1), r"members\.1\.decision: .*\n.*surprise"),
        (lambda d: d.pop("decision"), "decision"),
        (lambda d: d.update(decision="always"), "decision"),
        (lambda d: d.update(task="regoins"), "Did you mean 'regions'"),
        (lambda d: d.update(task="faces"), "min_area_fraction"),
        (lambda d: d.pop("task"), "task"),
        (lambda d: d.update(classes=["authentic"]), "classes"),
        (lambda d: d["members"][0]["networks"].update(model_2=model_of(d)), "have only the network model"),
        (lambda d: d["members"][0].update(networks={"mode": model_of(d)}), "one must be called model"),
        (lambda d: model_of(d).update(inputs={"pixels": model_of(d)["inputs"]["tiles"]}), "not the views of input"),
        (lambda d: model_of(d)["inputs"]["tiles"].update(shape=[3, 64, 64]), "not the views of input"),
        (lambda d: model_of(d).update(outputs={"mask": model_of(d)["outputs"]["logits"]}), "must begin with logits"),
        (lambda d: model_of(d)["outputs"]["logits"].update(shape=[1, 16, 16]), r"must be logits FP32 \[1, 32, 32\]"),
        (lambda d: d["members"][0]["input"].update(views={"sound": {}}), "unknown view 'sound'"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(
    bundle: Path, rewrite: Rewrite, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    rewrite(bundle, edit)
    with pytest.raises(SettingsError, match=message):
        read_bundle(bundle)


def test_a_bundle_keeps_the_order_of_inputs_and_outputs(tmp_path: Path) -> None:
    read = read_bundle(write_tiny_face_bundle(tmp_path))
    clips = read.document.members[1]
    assert list(clips.model.outputs) == ["logits", "vectors", "heatmap"]
    assert list(clips.networks["clip"].inputs) == ["vectors", "lengths"]
    assert read.document.to_document() == (tmp_path / BUNDLE_FILE).read_bytes()


def test_a_decision_of_another_task_is_refused(exported: Path) -> None:
    document = read_bundle(exported).document
    with pytest.raises(ValueError, match="the decisions of the task regions are of OperatingPoint"):
        Bundle(**dict(document) | {"decision": FaceDecision(threshold=0.5)})


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[]", b'"text"', b"[" * 100_000, b"null"])
def test_a_document_that_is_no_object_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / BUNDLE_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match=r"bundle\.json"):
        read_bundle(bundle)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_document_with_any_byte_altered_is_refused(exported: Path, data: st.DataObject) -> None:
    content = bytearray((exported / BUNDLE_FILE).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MismatchError, SettingsError), match=r"bundle\.json"):
        parse_bundle(bytes(content), "bundle.json")


def test_no_byte_of_torchscript_is_loaded_while_reading(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *given, **_: loaded.append(given))
    assert read_bundle(bundle).document.members
    assert loaded == []


def test_not_a_number_cannot_be_written_into_a_document(bundle: Path) -> None:
    document = read_bundle(bundle).document.model_copy(update={"metrics": {"f1": float("nan")}})
    with pytest.raises(ValueError, match="JSON"):
        document.to_document()
    assert json.loads(read_bundle(bundle).document.to_document())["metrics"] == {}
