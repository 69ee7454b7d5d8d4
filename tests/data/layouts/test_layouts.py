import json
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.storage import open_store
from data.entries.entry import Blob, Entry, Rejection
from data.layout import LAYOUTS, read_layout


def lay(root: Path, *files: str, content: bytes = b"x") -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)


def read(layout: str, root: Path, **options: frozenset[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    items = list(read_layout(layout, open_store(str(root)), **options))
    entries = {item.name: item for item in items if isinstance(item, Entry)}
    rejected = {item.name: item.reason for item in items if isinstance(item, Rejection)}
    assert all(item.detail for item in items if isinstance(item, Rejection))
    return entries, rejected


def test_forged_and_authentic_twins_are_linked_and_masks_found(tmp_path: Path) -> None:
    lay(tmp_path, "train_images/forged/7.png", "train_images/authentic/7.png", "train_images/authentic/8.JPG")
    lay(tmp_path, "train_masks/7.npy", content=b"mask")
    entries, rejected = read("forged-authentic-masks", tmp_path)
    assert rejected == {}
    assert sorted(entries) == ["authentic/7.png", "authentic/8.JPG", "forged/7.png"]
    forged, twin = entries["forged/7.png"], entries["authentic/7.png"]
    assert (forged.label, forged.method, twin.label, twin.method) == (1, "forged", 0, "authentic")
    assert forged.mask is not None
    assert (forged.mask.key, forged.mask.size) == ("train_masks/7.npy", 4)
    assert twin.mask is None
    assert forged.links == twin.links != entries["authentic/8.JPG"].links


def test_everything_else_in_forged_authentic_masks_is_rejected(tmp_path: Path) -> None:
    lay(tmp_path, "train_images/forged/1.png", "train_images/forged/2.png", "train_masks/2.npy", "train_masks/2.png")
    lay(tmp_path, "train_masks/3.npy", "train_masks/notes.txt", "train_images/forged/4.gif", "train_images/5.png")
    lay(tmp_path, "test_images/6.png", "README", "train_images/forged/.png", "train_images/forgedx/7.png")
    entries, rejected = read("forged-authentic-masks", tmp_path)
    assert entries == {}
    assert rejected == {
        "train_images/forged/1.png": "no-mask",
        "train_images/forged/2.png": "ambiguous-mask",
        "train_masks/3.npy": "mask-without-picture",
        "train_masks/notes.txt": "unknown-extension",
        "train_images/forged/4.gif": "unknown-extension",
        "train_images/forged/.png": "unknown-extension",
        "train_images/5.png": "unexpected-place",
        "train_images/forgedx/7.png": "unexpected-place",
        "test_images/6.png": "unexpected-place",
        "README": "unexpected-place",
    }


def test_stems_with_dots_keep_to_their_own_masks(tmp_path: Path) -> None:
    lay(tmp_path, "images/a.png", "images/a.o.png", "images/a-b.png", "masks/a.png", "masks/a.o.npy", "masks/a-b.bmp")
    entries, rejected = read("images-masks", tmp_path)
    assert rejected == {}
    assert {name: entry.mask.key for name, entry in entries.items() if entry.mask} == {
        "images/a.png": "masks/a.png",
        "images/a.o.png": "masks/a.o.npy",
        "images/a-b.png": "masks/a-b.bmp",
    }


def test_images_masks_leaves_the_label_to_the_mask(tmp_path: Path) -> None:
    lay(tmp_path, "images/a.tif", "masks/a.png", "images/copy-move/b.webp", "masks/copy-move/b.png", "images/c.bmp")
    lay(tmp_path, "masks/d.png", "images/e.txt")
    entries, rejected = read("images-masks", tmp_path)
    assert {(e.name, e.label, e.method) for e in entries.values()} == {
        ("images/a.tif", None, "forged"),
        ("images/copy-move/b.webp", None, "copy-move"),
    }
    assert rejected == {
        "images/c.bmp": "no-mask",
        "masks/d.png": "mask-without-picture",
        "images/e.txt": "unknown-extension",
    }


def test_two_pictures_of_one_stem_share_mask_and_group(tmp_path: Path) -> None:
    lay(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    entries, rejected = read("images-masks", tmp_path)
    assert rejected == {}
    assert entries["images/a.jpg"].links == entries["images/a.png"].links
    assert entries["images/a.jpg"].mask == entries["images/a.png"].mask


def test_flat_takes_every_picture_as_authentic(tmp_path: Path) -> None:
    lay(tmp_path, "a.jpeg", "deep/er/a.jpeg", "Thumbs.db", "noextension", "b.png.part")
    entries, rejected = read("flat", tmp_path)
    assert {(e.name, e.label, e.links) for e in entries.values()} == {
        ("authentic/a.jpeg", 0, ()),
        ("authentic/deep/er/a.jpeg", 0, ()),
    }
    assert set(rejected) == {"Thumbs.db", "noextension", "b.png.part"}


def test_names_that_cannot_be_carried_safely_are_rejected(tmp_path: Path) -> None:
    lay(tmp_path, "new\nline.png", "tab\t.png", "bell\a.png", "sep\u2028.png", "deleted\x7f.png", "fine ü 漢.png")
    (tmp_path / "bytes\udcff\udcfe.png").write_bytes(b"x")
    entries, rejected = read("flat", tmp_path)
    assert list(entries) == ["authentic/fine ü 漢.png"]
    assert set(rejected.values()) == {"bad-name"}
    assert len(rejected) == 6
    for item in read_layout("flat", open_store(str(tmp_path))):
        if isinstance(item, Rejection):
            assert json.loads(item.to_json())["name"] == item.name
            assert item.to_json().isascii()
            item.name.encode()  # can be printed


def test_provenance_links_pictures_of_one_source_and_names_methods(tmp_path: Path) -> None:
    lay(tmp_path, "train_images/forged/1.png", "train_masks/1.npy", "train_images/authentic/2.png")
    lay(tmp_path, "train_images/authentic/3.png", "forging.json")
    lines = [
        {"image": "train_images/forged/1.png", "sources": ["p", "q"], "recipe": {"kind": "splice"}},
        {"image": "train_images/authentic/2.png", "sources": ["q"], "recipe": {"kind": "resaved"}},
        {"image": "train_images/authentic/4.png", "sources": []},
    ]
    bad = ["not json", '{"image": "x"}', '{"image": 3, "sources": []}', '{"image": "\\ud800", "sources": []}', "[1]"]
    text = "\n".join([json.dumps(line) for line in lines] + bad)
    (tmp_path / "provenance.jsonl").write_text(text)
    entries, rejected = read("forged-authentic-masks", tmp_path)
    assert entries["forged/1.png"].links == ("id:1", "source:p", "source:q")
    assert entries["forged/1.png"].method == "splice"
    assert entries["authentic/2.png"].links == ("id:2", "source:q")
    assert entries["authentic/2.png"].method == "authentic"
    assert entries["authentic/3.png"].links == ("id:3",)
    assert rejected == {f"provenance.jsonl:{number}": "bad-provenance" for number in range(4, 9)} | {
        "provenance.jsonl: train_images/authentic/4.png": "bad-provenance"
    }


def test_ignored_keys_are_no_mistake(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "splits.csv")
    assert read("flat", tmp_path, ignore=frozenset({"splits.csv"}))[1] == {}


def test_an_entry_survives_json() -> None:
    entry = Entry("a/ü.png", Blob("a", 3, "tag"), Blob("m", 3, "tag"), None, "forged", ("id:ü",))
    assert Entry.from_json(entry.to_json()) == entry
    authentic = Entry("b", Blob("b", 3, "tag"), None, 0, "authentic")
    assert Entry.from_json(authentic.to_json()) == authentic


def test_an_unknown_layout_is_answered_with_the_closest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'images-masks'"):
        LAYOUTS.get("image-mask")
