"""The layouts of data sets of manipulated faces, on trees of their official shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import SettingsError
from core.storage import open_store
from data.entries.entry import Entry, Rejection
from data.layout import LayoutOptions, read_layout


def lay(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")


def read(layout: str, root: Path, **options: Any) -> tuple[dict[str, Entry], dict[str, str]]:
    items = list(read_layout(layout, open_store(str(root)), LayoutOptions(**options)))
    entries = {item.name: item for item in items if isinstance(item, Entry)}
    rejected = {item.name: item.reason for item in items if isinstance(item, Rejection)}
    assert len(entries) + len(rejected) == len(items)
    assert all(Entry.from_json(entry.to_json()) == entry for entry in entries.values())
    return entries, rejected


ORIGINAL = "original_sequences/youtube/c23/videos/"
MADE = "manipulated_sequences/Deepfakes/c23/videos/"


def test_faceforensics_tells_methods_compressions_ids_and_originals(tmp_path: Path) -> None:
    lay(tmp_path, f"{ORIGINAL}004.mp4", f"{ORIGINAL}982.mp4", f"{MADE}004_982.mp4", f"{MADE}notes.txt", "README")
    lay(
        tmp_path,
        "original_sequences/youtube/raw/videos/004.mp4",
        "manipulated_sequences/Deepfakes/masks/videos/1_2.mp4",
    )
    entries, rejected = read("faceforensics", tmp_path)
    assert rejected == {f"{MADE}notes.txt": "unknown-extension", "README": "unexpected-place"}
    made, real = entries[f"{MADE}004_982.mp4"], entries[f"{ORIGINAL}004.mp4"]
    assert (made.label, made.method, made.compression, made.links) == (1, "Deepfakes", "c23", ("id:004", "id:982"))
    assert (real.label, real.method, real.links) == (0, "real", ("id:004",))
    assert made.original == real.file
    assert real.original is None
    assert entries["original_sequences/youtube/raw/videos/004.mp4"].compression == "c0"
    assert len(entries) == 4


def test_faceforensics_takes_what_is_chosen(tmp_path: Path) -> None:
    lay(tmp_path, f"{ORIGINAL}004.mp4", f"{MADE}004_982.mp4", "manipulated_sequences/FaceSwap/c23/videos/004_982.mp4")
    lay(tmp_path, "original_sequences/youtube/c40/videos/004.mp4")
    entries, rejected = read("faceforensics", tmp_path, methods=["FaceSwap"], compressions=["c23"])
    assert rejected == {}
    assert sorted(entry.method for entry in entries.values()) == ["FaceSwap", "real"]


def test_faceforensics_reads_its_official_splits(tmp_path: Path) -> None:
    lay(tmp_path, f"{ORIGINAL}004.mp4", f"{MADE}004_982.mp4", f"{ORIGINAL}519.mp4")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.json").write_text('[["004", "982"]]')
    (tmp_path / "splits/test.json").write_text('[["519", "515"]]')
    entries, rejected = read("faceforensics", tmp_path)
    assert rejected == {}
    assert {entry.split for entry in entries.values() if "004" in entry.name} == {"train"}
    assert entries[f"{ORIGINAL}519.mp4"].split == "test"
    (tmp_path / "splits/val.json").write_text('[["982", "1"]]')
    with pytest.raises(SettingsError, match="982"):
        read("faceforensics", tmp_path)
    (tmp_path / "splits/val.json").write_text("{")
    with pytest.raises(SettingsError, match=r"val\.json"):
        read("faceforensics", tmp_path)


def test_actors_have_ids_of_their_own(tmp_path: Path) -> None:
    lay(tmp_path, "original_sequences/actors/c23/videos/01__walking.mp4", f"{ORIGINAL}01.mp4")
    lay(tmp_path, "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walking__ABC.mp4")
    entries, _ = read("faceforensics", tmp_path)
    made = entries["manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walking__ABC.mp4"]
    assert made.links == ("id:actor01", "id:actor02")
    assert made.original == entries["original_sequences/actors/c23/videos/01__walking.mp4"].file
    assert entries[f"{ORIGINAL}01.mp4"].links == ("id:01",)


def test_celeb_df_knows_ids_originals_and_the_official_test_split(tmp_path: Path) -> None:
    lay(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4", "YouTube-real/00000.mp4")
    lay(tmp_path, "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0003.mp4", "Celeb-real/deep/id2_0.mp4")
    lines = ["1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id0_id1_0000.mp4", "1 YouTube-real/00009.mp4", "what?"]
    (tmp_path / "List_of_testing_videos.txt").write_text("\n".join([*lines, "1 Celeb-synthesis/id1_id0_0003.mp4"]))
    entries, rejected = read("celeb-df", tmp_path)
    assert rejected == {
        "Celeb-real/deep/id2_0.mp4": "unexpected-place",
        "YouTube-real/00009.mp4": "listed-absent",
        "List_of_testing_videos.txt:4": "bad-list",
        "Celeb-synthesis/id1_id0_0003.mp4": "label-conflict",
    }
    made = entries["Celeb-synthesis/id0_id1_0000.mp4"]
    assert (made.label, made.method, made.links, made.split) == (1, "Celeb-synthesis", ("id:id0", "id:id1"), "test")
    assert made.original == entries["Celeb-real/id0_0000.mp4"].file
    assert entries["Celeb-real/id1_0000.mp4"].split == ""
    assert entries["YouTube-real/00000.mp4"].links == ("clip:YouTube-real/00000",)


def metadata(root: Path, part: str, **clips: dict[str, str]) -> None:
    (root / part).mkdir(parents=True, exist_ok=True)
    (root / part / "metadata.json").write_text(json.dumps({f"{name}.mp4": known for name, known in clips.items()}))


def test_dfdc_links_clips_to_their_originals_and_records_what_is_absent(tmp_path: Path) -> None:
    part = "dfdc_train_part_0"
    fake = {"label": "FAKE", "split": "train", "original": "real.mp4"}
    metadata(tmp_path, part, fake=fake, other=fake, gone=fake, real={"label": "REAL"}, odd={"label": "MAYBE"})
    lay(tmp_path, *(f"{part}/{name}.mp4" for name in ("fake", "other", "real", "odd", "unlisted")))
    entries, rejected = read("dfdc", tmp_path)
    assert rejected == {
        f"{part}/gone.mp4": "listed-absent",
        f"{part}/odd.mp4": "no-label",
        f"{part}/metadata.json: odd.mp4": "bad-metadata",
        f"{part}/unlisted.mp4": "no-label",
    }
    assert {entry.links for entry in entries.values()} == {("clip:real.mp4",)}
    assert entries[f"{part}/fake.mp4"].original == entries[f"{part}/real.mp4"].file
    assert [entries[f"{part}/{name}.mp4"].label for name in ("fake", "real")] == [1, 0]


def test_dfdc_parts_can_be_taken_one_after_another(tmp_path: Path) -> None:
    for number in (0, 1, 2, 10):
        metadata(tmp_path, f"dfdc_train_part_{number}", a={"label": "REAL"}, absent={"label": "REAL"})
        lay(tmp_path, f"dfdc_train_part_{number}/a.mp4")
    entries, rejected = read("dfdc", tmp_path, parts=[1, 2])
    assert sorted(entries) == ["dfdc_train_part_1/a.mp4", "dfdc_train_part_2/a.mp4"]
    assert set(rejected) == {"dfdc_train_part_1/absent.mp4", "dfdc_train_part_2/absent.mp4"}


@pytest.mark.parametrize("content", ["[]", "{", "null", '{"a.mp4": 3}', '{"../a.mp4": {"label": "REAL"}}'])
def test_metadata_of_dfdc_that_is_none_is_recorded(tmp_path: Path, content: str) -> None:
    lay(tmp_path, "dfdc_train_part_0/a.mp4")
    (tmp_path / "dfdc_train_part_0/metadata.json").write_text(content)
    entries, rejected = read("dfdc", tmp_path)
    assert entries == {}
    assert rejected.pop("dfdc_train_part_0/a.mp4") == "no-label"
    assert set(rejected.values()) == {"bad-metadata"}


def test_two_folders_of_clips(tmp_path: Path) -> None:
    lay(tmp_path, "real/a.mp4", "fake/a.mp4", "fake/swap/b.webm", "manipulated/c.MOV", "real/x.png", "other/d.mp4")
    entries, rejected = read("real-fake-videos", tmp_path)
    assert rejected == {"real/x.png": "unknown-extension", "other/d.mp4": "unexpected-place"}
    assert {name: (e.label, e.method) for name, e in entries.items()} == {
        "real/a.mp4": (0, "real"),
        "fake/a.mp4": (1, "manipulated"),
        "fake/swap/b.webm": (1, "swap"),
        "manipulated/c.MOV": (1, "manipulated"),
    }
    assert entries["real/a.mp4"].links == entries["fake/a.mp4"].links


def test_frames_that_were_cut_out_already_name_their_clip(tmp_path: Path) -> None:
    lay(tmp_path, "real/004_0.png", "real/004_8.png", "manipulated/004_982_4.png", "real/face.jpg", "real/004_8.jpg")
    entries, rejected = read("real-fake-frames", tmp_path)
    assert rejected == {"real/004_8.png": "duplicate-frame"}
    made = entries["manipulated/004_982_4.png"]
    assert (made.medium, made.frame, made.label) == ("manipulated/004_982", 4, 1)
    assert made.links == ("id:004", "id:982")
    real = entries["real/004_0.png"]
    assert (real.medium, real.frame, real.links) == ("real/004", 0, ("id:004",))
    assert (entries["real/face.jpg"].medium, entries["real/face.jpg"].frame) == ("real/face", 0)


def test_ids_with_underscores_are_linked_however_they_are_read(tmp_path: Path) -> None:
    lay(tmp_path, "fake/a_1_b_0.png", "real/a_1_0.png", "real/b_0.png")
    entries, _ = read("real-fake-frames", tmp_path)
    links = set(entries["fake/a_1_b_0.png"].links)
    assert links.issuperset(entries["real/a_1_0.png"].links)
    assert links.issuperset(entries["real/b_0.png"].links)


def test_options_that_a_layout_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="methods"):
        read("dfdc", tmp_path, methods=["Deepfakes"])


def test_real_trees(real_media: Path) -> None:
    entries, rejected = read("dfdc", real_media / "videos/dfdc")
    assert len(entries) == 3
    assert set(rejected.values()) == {"listed-absent"}
    entries, rejected = read("faceforensics", real_media / "videos/ffpp")
    assert (len(entries), rejected) == (7, {})
    assert len({entry.medium for entry in read("real-fake-frames", real_media / "faces")[0].values()}) == 160
