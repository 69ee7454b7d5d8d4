"""Extraction of clips: rows, rejections, parts, and that the bytes depend on nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.errors import SettingsError
from core.settings import parse
from core.storage import open_store
from data.index import SampleIndex, read_index
from data.shards import ShardReader
from data.stored import load_sample, picture_span
from media.extraction import DetectorSpec
from media.faces import FaceDetector, faces_of_video
from media.views.face import FaceView
from tests.clips import portrait, write_clip, write_sound

FACES = {"decoder": "pyav", "frames": {"policy": "even", "count": 4}, "faces": {"max_side": 64}, "store": "png"}
Made = Callable[..., ExtractRecipe]


@pytest.fixture
def made() -> Made:
    """Makes a recipe for clips."""

    def make(layout: str = "real-fake-videos", **settings: object) -> ExtractRecipe:
        given = {"layout": layout, "dataset": "made", "splits": {"all": "test"}, "spec": {"extraction": FACES}}
        return parse(ExtractRecipe, json.dumps(given | settings), "recipe")

    return make


def clip(path: Path, tint: int = 0) -> Path:
    return write_clip(path, [np.minimum(portrait(number), 250 - 4 * tint) for number in range(8)])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of each class, one without a face, and three that cannot be read."""
    root = tmp_path_factory.mktemp("tree")
    for number in range(3):
        clip(root / f"real/r{number}.mp4", number)
        clip(root / f"fake/swap/f{number}.mp4", number + 5)
    write_clip(root / "real/empty.mp4", [np.full((64, 64, 3), 80, np.uint8)] * 5)
    write_sound(root / "fake/sound.mp4")
    whole = (root / "real/r0.mp4").read_bytes()
    (root / "fake/cut.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "fake/text.mp4").write_text("no clip")
    return root


def test_each_crop_is_a_row(tmp_path: Path, tree: Path, made: Made, rejected: Callable[[Path], dict[str, str]]) -> None:
    summary = extract_frames(str(tree), tmp_path / "out", str(tmp_path / "shards"), made(), workers=2)
    assert summary.samples == {"test/manipulated": 12, "test/real": 12}
    assert rejected(tmp_path / "out") == {
        "real/empty.mp4": "no-face",
        "fake/sound.mp4": "no-video-stream",
        "fake/cut.mp4": "truncated-video",
        "fake/text.mp4": "not-video",
    }
    index = read_index(tmp_path / "out")
    rows = [row for row in index.rows() if row["media_id"] == "made/fake/swap/f1.mp4"]
    assert [(row["frame"], row["time_ms"], row["track"]) for row in rows] == [(n, n * 40.0, 0) for n in (0, 2, 4, 7)]
    for row in rows:
        assert (row["label"], row["label_name"], row["method"]) == (1, "manipulated", "swap")
        assert (row["compression"], row["forged_fraction"], row["mask_offset"]) == ("h264", 1.0, None)
        assert (row["width"], row["height"]) == (64, 64)
        assert row["run"] == 0
        assert 0 < row["box"][0] < row["landmarks"][0] < row["landmarks"][2] < row["box"][2] < 64
        assert row["crop"][2] - row["crop"][0] > 64  # so it was scaled
        assert (row["grid_x"], row["grid_y"]) == (None, None)
        assert 0.6 < row["box_score"] <= 1
    real = next(row for row in index.rows() if row["label"] == 0)
    assert (real["label_name"], real["method"], real["forged_fraction"]) == ("real", "real", 0.0)
    assert len(set(index.column("sample_id"))) == 24
    data = ShardReader(index.shards).read(rows[0]["shard"], picture_span(rows[0]))[0]
    assert data.startswith(b"\x89PNG")


def test_a_stored_face_shows_what_a_view_of_its_frame_would(tmp_path: Path, tree: Path, made: Made) -> None:
    """Crops are stored at the frame's resolution, as wide as asked; runs of consecutive frames are told apart."""
    extraction = FACES | {"frames": {"policy": "clips", "clips": 2, "length": 3}, "faces": {"margin": 2.0}}
    recipe = made(spec={"extraction": extraction, "classes": ["genuine", "fake"]})
    extract_frames(str(tree), tmp_path / "out", str(tmp_path / "shards"), recipe, workers=1)
    index = read_index(tmp_path / "out")
    assert index.spec == recipe.spec
    assert set(index.column("label_name")) == {"genuine", "fake"}
    rows = [row for row in index.rows() if row["media_id"] == "made/real/r0.mp4"]
    assert [(row["run"], row["frame"]) for row in rows] == [(0, 0), (0, 1), (0, 2), (1, 5), (1, 6), (1, 7)]
    reader, detector = ShardReader(index.shards), FaceDetector(DetectorSpec())
    found = faces_of_video(tree / "real/r0.mp4", recipe.spec.extraction, detector)
    view = FaceView(size=64, margin=1.3)
    for row, crop in zip(rows, found.crops, strict=True):
        sample = load_sample(row, reader)
        assert (row["grid_x"], row["grid_y"]) == (row["crop"][0] % 16, row["crop"][1] % 16) == sample.grid
        assert np.array_equal(view.cut(sample), view.cut(crop.sample))


def test_the_bytes_do_not_depend_on_workers_nor_on_who_finished_what(
    tmp_path: Path, tree: Path, made: Made, everything: Callable[[Path, Path], dict[str, bytes]]
) -> None:
    shards = tmp_path / "shards"
    extract_frames(str(tree), tmp_path / "one", str(shards), made(), workers=1)
    one = everything(tmp_path / "one", shards)
    chunks = str(tmp_path / "chunks")
    extract_frames(str(tree), tmp_path / "part", str(shards), made(), workers=2, chunks=chunks, part=0)
    finished = sorted(path.name for path in (tmp_path / "chunks").glob("*.jsonl"))
    assert len(finished) == 10
    for source in tree.rglob("f1.mp4"):
        source.touch()  # now one chunk is missing
    extract_frames(str(tree), tmp_path / "whole", str(shards), made(), workers=2, chunks=chunks)
    assert everything(tmp_path / "whole", shards) == one


def test_the_whole_takes_what_parts_finished(tmp_path: Path, tree: Path, made: Made) -> None:
    places = (tmp_path / "out", str(tmp_path / "shards"))
    chunks = tmp_path / "chunks"
    extract_frames(str(tree), *places, made(), workers=1, chunks=str(chunks), part=0)
    for path in chunks.glob("*.jsonl"):  # a mark that only what is taken from there can bear
        path.write_text(path.read_text().replace('"method": "swap"', '"method": "marked"'))
    extract_frames(str(tree), *places, made(), workers=1, chunks=str(chunks))
    assert set(read_index(tmp_path / "out").column("method")) == {"real", "marked"}


def test_parts_that_are_none_are_refused(tmp_path: Path, tree: Path, made: Made) -> None:
    places = (str(tree), tmp_path / "out", str(tmp_path / "shards"), made())
    wanted = str(tmp_path / "c")
    for part, parts, chunks in ((2, 2, wanted), (-1, 2, wanted), (0, 2, ""), (None, 0, wanted)):
        with pytest.raises(SettingsError, match="part"):
            extract_frames(*places, workers=1, chunks=chunks, part=part, parts=parts)
    with pytest.raises(SettingsError, match="chunks"):
        extract_frames(*places, workers=1, chunks=str(tree / "chunks"), part=0)


@pytest.mark.s3
def test_clips_and_chunks_in_s3(tmp_path: Path, tree: Path, made: Made, bucket: str) -> None:
    store = open_store(f"{bucket}/in")
    for path in tree.rglob("*.mp4"):
        store.upload(path, path.relative_to(tree).as_posix())
    given = (f"{bucket}/in", tmp_path / "out", f"{bucket}/shards", made())
    extract_frames(*given, workers=2, chunks=f"{bucket}/chunks", part=0)
    extract_frames(*given, workers=1, chunks=f"{bucket}/chunks")
    extract_frames(str(tree), tmp_path / "local", str(tmp_path / "shards"), made(), workers=1)
    assert pixels(read_index(tmp_path / "out")) == pixels(read_index(tmp_path / "local"))


def pixels(index: SampleIndex) -> list[tuple[str, str, int]]:
    return sorted(zip(index.column("sample_id"), index.column("shard"), index.column("offset"), strict=True))


def test_the_boxes_of_the_original(tmp_path: Path, made: Made) -> None:
    clip(tmp_path / "in/original_sequences/youtube/c23/videos/004.mp4")
    made_of = tmp_path / "in/manipulated_sequences/Deepfakes/c23/videos/004_982.mp4"
    write_clip(made_of, [portrait(number, shift=1) // 3 for number in range(8)])
    boxes = {}
    for chosen in (False, True):
        out = tmp_path / f"out{chosen}"
        recipe = made("faceforensics", boxes_of_original=chosen)
        extract_frames(str(tmp_path / "in"), out, str(tmp_path / "shards"), recipe, workers=1)
        rows = read_index(out).rows()
        assert {row["compression"] for row in rows} == {"c23"}
        boxes[chosen] = [[row["crop"] for row in rows if row["label"] == label] for label in (0, 1)]
    assert boxes[True][0] == boxes[True][1]
    assert boxes[False][0] != boxes[False][1]


def test_official_splits_hold_and_the_rest_is_divided(
    tmp_path: Path, made: Made, rejected: Callable[[Path], dict[str, str]]
) -> None:
    """Celeb-DF names its test clips alone; whoever is in them must not be trained on."""
    for number in range(12):
        clip(tmp_path / f"in/Celeb-real/id{number}_0000.mp4", number)
    for number in range(0, 12, 2):
        clip(tmp_path / f"in/Celeb-synthesis/id{number}_id{number + 1}_0000.mp4", number + 20)
    listed = ["1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id2_id3_0000.mp4"]
    (tmp_path / "in/List_of_testing_videos.txt").write_text("\n".join(listed))
    recipe = made("celeb-df", splits={"fractions": {"train": 0.6, "val": 0.3, "test": 0.1}})
    extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "shards"), recipe, workers=2)
    splits = {row["media_id"].removeprefix("made/"): row["split"] for row in read_index(tmp_path / "out").rows()}
    assert {name for name, split in splits.items() if split == "test"} == {line.split()[1] for line in listed}
    assert rejected(tmp_path / "out") == {
        "Celeb-real/id1_0000.mp4": "no-split",
        "Celeb-real/id2_0000.mp4": "no-split",
        "Celeb-real/id3_0000.mp4": "no-split",
        "Celeb-synthesis/id0_id1_0000.mp4": "no-split",
    }
    for number in range(4, 12, 2):
        pair = [f"Celeb-real/id{number}_0000.mp4", f"Celeb-real/id{number + 1}_0000.mp4"]
        assert len({splits[name] for name in [*pair, f"Celeb-synthesis/id{number}_id{number + 1}_0000.mp4"]}) == 1
    assert set(splits.values()) == {"train", "val", "test"}


def test_sixty_malformed_clips(
    tmp_path: Path, made: Made, malformed_clips: dict[str, bytes], rejected: Callable[[Path], dict[str, str]]
) -> None:
    (tmp_path / "in/real").mkdir(parents=True)
    for name, content in malformed_clips.items():
        (tmp_path / "in/real" / name).write_bytes(content)
    clip(tmp_path / "in/real/good.mp4")
    extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "shards"), made(), workers=2)
    reasons = rejected(tmp_path / "out")
    used = {media.removeprefix("made/real/") for media in read_index(tmp_path / "out").column("media_id")}
    assert {name.removeprefix("real/") for name in reasons} | used == {*malformed_clips, "good.mp4"}
    assert "good.mp4" in used
    assert "crashed" not in reasons.values()
    assert reasons["real/absurd-size.mp4"] if "absurd-size.mp4" not in used else True


def test_frames_that_were_cut_out_already_are_stored_as_they_are(
    tmp_path: Path, made: Made, crops: list[np.ndarray]
) -> None:
    for number, crop in enumerate(crops[:8]):
        for name in (f"real/{number}_0.png", f"real/{number}_8.png", f"manipulated/{number}_{number ^ 1}_4.png"):
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "in" / name), np.roll(crop, len(name) + number, axis=0))
    spec = {"extraction": {"faces": {"margin": 1.0}}}
    recipe = made("real-fake-frames", spec=spec, splits={"fractions": {"train": 0.5, "val": 0.25, "test": 0.25}})
    assert recipe.near_duplicates.distance is None
    extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "shards"), recipe, workers=1)
    index = read_index(tmp_path / "out")
    assert len(set(index.column("group_id"))) == 4
    assert len(set(index.column("media_id"))) == 16
    row = next(row for row in index.rows() if row["media_id"] == "made/real/3" and row["frame"] == 8)
    stored = ShardReader(index.shards).read(row["shard"], picture_span(row))[0]
    assert stored == (tmp_path / "in/real/3_8.png").read_bytes()


@pytest.mark.parametrize(
    ("layout", "settings", "problem"),
    [
        ("flat", {}, "decoder must be pillow"),
        ("flat", {"spec": {"extraction": {"faces": {}}}}, "must be null"),
        ("real-fake-frames", {"spec": {}}, "must say how faces are cut"),
        ("dfdc", {"spec": {}}, "decoder must be pyav"),
        ("dfdc", {"near_duplicates": {"distance": 4}}, "clips are not compared"),
        ("dfdc", {"spec": {"classes": ["real", "swapped", "reenacted"], "extraction": FACES}}, "has 2 classes"),
        ("dfdc", {"layout_options": {"methods": ["Deepfakes"]}}, "knows no option methods"),
    ],
)
def test_recipes_that_cannot_be_meant(made: Made, layout: str, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        made(layout, **settings)
