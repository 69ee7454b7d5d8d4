import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.extract_frames.__main__ import main
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.errors import BadInputError, SettingsError
from core.settings import validate
from data.index import read_index
from data.samples import sample_id
from data.shards import ShardReader
from data.splits import SplitError
from data.stored import mask_span, picture_span
from media.pictures import decode_mask, decode_mask_png, decode_picture

Lay = Callable[..., Path]
MakeRecipe = Callable[..., ExtractRecipe]
Everything = Callable[[Path, Path], dict[str, bytes]]
Rejected = Callable[[Path], dict[str, str]]


def test_every_picture_is_found_again_with_its_bytes_and_mask(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source, output = lay(tmp_path / "in"), tmp_path / "out"
    summary = extract_frames(str(source), output, str(tmp_path / "shards"), recipe(), workers=2)
    index = read_index(output)
    reader = ShardReader(index.shards)
    rows = {row["media_id"]: row for row in index.rows()}
    assert len(rows) == len(index) == 24
    assert sum(summary.samples.values()) == 24
    assert list(index.column("media_id")) == sorted(rows)
    for path in (source / "train_images").glob("*/*"):
        row = rows[f"made/{path.parent.name}/{path.name}"]
        assert reader.read(row["shard"], picture_span(row))[0] == path.read_bytes()
        assert row["sample_id"] == sample_id(row["media_id"])
        assert (row["width"], row["height"], row["frame"], row["track"], row["box"]) == (64, 64, 0, -1, None)
        assert row["compression"].startswith("jpeg-q9" if path.suffix == ".jpg" else "png")
        if path.parent.name == "authentic":
            assert (row["label"], row["label_name"], row["method"]) == (0, "authentic", "authentic")
            assert (row["mask_offset"], row["mask_size"], row["forged_fraction"]) == (None, None, 0.0)
        else:
            mask = decode_mask_png(reader.read(row["shard"], mask_span(row))[0])
            expected = decode_mask((source / "train_masks" / f"{path.stem}.npy").read_bytes(), (64, 64))
            assert np.array_equal(mask, expected)
            assert row["forged_fraction"] == expected.mean()
            assert (row["label"], row["label_name"], row["method"]) == (1, "forged", "forged")
    for split in ("train", "val", "test"):
        assert set(index.where(split=split).column("label")) == {0, 1}


def test_number_of_workers_and_order_of_creation_change_no_byte(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, everything: Everything
) -> None:
    one, two, shards = lay(tmp_path / "one", 60), tmp_path / "two", tmp_path / "shards"
    for path in sorted(one.rglob("*.*"), reverse=True):
        (two / path.relative_to(one)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, two / path.relative_to(one))
    found = []
    for source, workers in ((one, 1), (two, 3)):
        output = tmp_path / f"out{workers}"
        extract_frames(str(source), output, str(shards), recipe(shard_bytes=400_000), workers=workers)
        found.append(everything(output, shards))
        shutil.rmtree(shards)
    assert found[0] == found[1]
    assert sum(name.endswith(".tar") for name in found[0]) == 2


def test_rows_point_into_the_right_one_of_many_shards(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source, output = lay(tmp_path / "in", 70), tmp_path / "out"
    extract_frames(str(source), output, str(tmp_path / "shards"), recipe(shard_bytes=8192), workers=2)
    index = read_index(output)
    reader = ShardReader(index.shards)
    assert len(set(index.column("shard"))) == 3  # one a chunk, for none fits
    for row in index.rows():
        picture = source / "train_images" / row["media_id"].removeprefix("made/")
        assert reader.read(row["shard"], picture_span(row))[0] == picture.read_bytes()


def test_shards_hold_one_entry_a_picture_and_one_a_mask(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    extract_frames(str(lay(tmp_path / "in")), tmp_path / "out", str(tmp_path / "shards"), recipe(), workers=1)
    (shard,) = (tmp_path / "shards").iterdir()
    with tarfile.open(shard) as archive:
        names = archive.getnames()
    index = read_index(tmp_path / "out")
    assert list(dict.fromkeys(name.partition(".")[0] for name in names)) == list(index.column("sample_id"))
    assert sum(name.endswith(".mask.png") for name in names) == 12
    assert len(names) == 36


def test_twins_and_copies_share_group_and_split(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source = lay(tmp_path / "in")
    shutil.copy(source / "train_images/authentic/a001.png", source / "train_images/authentic/f002.png")  # twin by name
    Image.open(source / "train_images/authentic/a003.png").save(source / "train_images/authentic/z.jpg", quality=60)
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "shards"), recipe(), workers=1)
    rows = {row["media_id"].removeprefix("made/"): row for row in read_index(tmp_path / "out").rows()}
    for one, other in (
        ("authentic/f002.png", "forged/f002.png"),
        ("authentic/f002.png", "authentic/a001.png"),  # the same bytes
        ("authentic/a003.png", "authentic/z.jpg"),  # nearly the same pixels
    ):
        assert rows[one]["group_id"] == rows[other]["group_id"]
        assert rows[one]["split"] == rows[other]["split"]
    assert len({row["group_id"] for row in rows.values()}) == len(rows) - 3


def test_mirror_images_come_together_where_the_recipe_says_so(
    tmp_path: Path, recipe: MakeRecipe, crops: list[np.ndarray]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(crops[0]).save(tmp_path / "in/plain.png")
    Image.fromarray(crops[0][:, ::-1]).save(tmp_path / "in/mirrored.png")
    Image.fromarray(crops[9]).save(tmp_path / "in/other.png")
    for mirrored in (False, True):
        settings = recipe("flat", splits={"all": "train"}, near_duplicates={"mirrored": mirrored})
        extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "s"), settings, workers=1)
        groups = dict(zip(*(read_index(tmp_path / "out").column(c) for c in ("media_id", "group_id")), strict=True))
        together = groups["made/authentic/plain.png"] == groups["made/authentic/mirrored.png"]
        assert together == mirrored
        assert len(set(groups.values())) == 3 - mirrored


def test_blank_pictures_do_not_merge_what_is_unlike(tmp_path: Path, recipe: MakeRecipe) -> None:
    for number in range(6):
        path = tmp_path / "in" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (50 + number, 50), (number * 40,) * 3).save(path)
    extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "s"), recipe("flat", splits={"all": "train"}))
    assert len(set(read_index(tmp_path / "out").column("group_id"))) == 6


def test_pictures_may_also_be_stored_as_decoded(tmp_path: Path, recipe: MakeRecipe, crops: list[np.ndarray]) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(crops[0][:40]).save(tmp_path / "in/turned.jpg", exif=exif)
    original = (tmp_path / "in/turned.jpg").read_bytes()
    for store in ("original", "png"):
        spec = {"extraction": {"store": store}}
        settings = recipe("flat", splits={"all": "test"}, spec=spec)
        extract_frames(str(tmp_path / "in"), tmp_path / store, str(tmp_path / "s"), settings, workers=1)
        index = read_index(tmp_path / store)
        (row,) = index.rows()
        stored = ShardReader(index.shards).read(row["shard"], picture_span(row))[0]
        assert (stored == original) == (store == "original")
        assert np.array_equal(decode_picture(stored), decode_picture(original))
        assert (row["width"], row["height"]) == (40, 64)


def test_an_all_zero_mask_makes_a_picture_of_images_masks_authentic(
    tmp_path: Path, recipe: MakeRecipe, crops: list[np.ndarray]
) -> None:
    for number, rgb in enumerate(crops[:4]):
        for folder in ("images", "masks"):
            (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(tmp_path / f"in/images/{number}.tif")
        mask = np.zeros((64, 64), np.uint8)
        mask[: 8 * number] = 255
        Image.fromarray(mask).save(tmp_path / f"in/masks/{number}.png")
    settings = recipe("images-masks", splits={"all": "test"})
    extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "s"), settings, workers=1)
    index = read_index(tmp_path / "out")
    assert list(index.column("label")) == [0, 1, 1, 1]
    assert list(index.column("method")) == ["authentic", "forged", "forged", "forged"]
    assert list(index.column("forged_fraction")) == [0, 0.125, 0.25, 0.375]


def test_a_second_start_finds_all_done_unless_something_is_missing_or_new(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, everything: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output, shards = lay(tmp_path / "in"), tmp_path / "out", tmp_path / "shards"
    first = extract_frames(str(source), output, str(shards), recipe(), workers=1)
    written = everything(output, shards)
    times = {path: path.stat().st_mtime_ns for path in output.glob("*.*")}
    assert extract_frames(str(source), output, str(shards), recipe(), workers=1) == first
    assert {path: path.stat().st_mtime_ns for path in output.glob("*.*")} == times
    next(shards.iterdir()).unlink()
    (output / "index.parquet").write_bytes(b"damaged")
    assert extract_frames(str(source), output, str(shards), recipe(), workers=1) == first
    assert everything(output, shards) == written
    (source / "train_images/authentic/a000.png").unlink()
    changed = extract_frames(str(source), output, str(shards), recipe(), workers=1)
    assert sum(changed.samples.values()) == 23
    assert len(read_index(output)) == 23


def test_the_seed_and_fractions_of_the_recipe_decide_the_splits(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source = lay(tmp_path / "in", 40)
    splits = []
    for seed in (0, 1):
        settings = recipe(splits={"seed": seed, "fractions": {"train": 0.5, "test": 0.5}})
        extract_frames(str(source), tmp_path / f"out{seed}", str(tmp_path / "shards"), settings, workers=2)
        splits.append(list(read_index(tmp_path / f"out{seed}").column("split")))
    assert splits[0] != splits[1]
    assert [found.count("train") for found in splits] == pytest.approx([40, 40], abs=2)


def official(source: Path, where: Path) -> None:
    stems = [path.stem for path in sorted((source / "train_images").glob("*/*"))[:-1]]
    lines = [f"{stem},{('train', 'val')[int(stem[1:]) % 2]}" for stem in stems]
    where.write_text("\n".join(["name,split", *lines]))


@pytest.mark.parametrize("where", ["outside", "file", "inside"])
def test_official_splits_are_taken_and_unnamed_samples_left_out(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, rejected: Rejected, where: str
) -> None:
    source = lay(tmp_path / "in")
    path = (source if where == "inside" else tmp_path) / "official.csv"
    official(source, path)
    file = {"outside": str(path), "file": f"file://{path}", "inside": "official.csv"}[where]
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), recipe(splits={"file": file}), workers=1)
    index = read_index(tmp_path / "out")
    assert len(index) == 23
    for row in index.rows():
        number = int(Path(row["media_id"]).stem[1:])
        assert row["split"] == ("train", "val")[number % 2]
    assert rejected(tmp_path / "out") == {"train_images/forged/f011.png": "no-split"}


def test_official_splits_that_part_a_group_or_lack_a_class_fail(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source = lay(tmp_path / "in")
    path = tmp_path / "official.json"
    settings = recipe(splits={"file": str(path)})
    shutil.copy(source / "train_images/authentic/a001.png", source / "train_images/authentic/a900.png")
    names = [p.stem for p in (source / "train_images").glob("*/*")]
    path.write_text(json.dumps({name: "test" if name == "a900" else "train" for name in names}))
    with pytest.raises(
        SplitError, match=r"made/authentic/a001.png is in 'train' and made/authentic/a900.png in 'test'"
    ):
        extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), settings, workers=1)
    path.write_text(json.dumps({name: "test" if name == "a002" else "train" for name in names}))
    with pytest.raises(SplitError, match="split 'test' has no forged sample"):
        extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), settings, workers=1)
    path.write_text(json.dumps({"somebody": "train"}))
    with pytest.raises(BadInputError, match="no-split: 25"):
        extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), settings, workers=1)
    assert not (tmp_path / "out/index.parquet").exists()


def test_one_class_alone_needs_a_split_of_its_own(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source = lay(tmp_path / "in") / "train_images/authentic"
    with pytest.raises(SplitError, match=r"split 'train' has no forged sample.*set splits\.all"):
        extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), recipe("flat"), workers=1)
    settings = recipe("flat", splits={"all": "val"})
    summary = extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), settings, workers=1)
    assert summary.samples == {"val/authentic": 12}


def test_no_input_is_an_error_that_says_what_was_looked_for(tmp_path: Path, recipe: MakeRecipe) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "absent"):
        with pytest.raises(BadInputError, match=f"{place} does not exist or holds nothing.*train_images/forged/"):
            extract_frames(str(tmp_path / place), tmp_path / "out", str(tmp_path / "s"), recipe())


def test_nothing_usable_is_an_error_that_says_where_the_reasons_are(
    tmp_path: Path, recipe: MakeRecipe, rejected: Rejected
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"")
    (tmp_path / "in/b.txt").write_bytes(b"text")
    with pytest.raises(BadInputError, match=r"empty: 1, unknown-extension: 1.*out/rejected\.jsonl"):
        extract_frames(str(tmp_path / "in"), tmp_path / "out", str(tmp_path / "s"), recipe("flat"), workers=1)
    assert rejected(tmp_path / "out") == {"a.png": "empty", "b.txt": "unknown-extension"}
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").iterdir())


def test_places_inside_the_source_are_refused(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source = lay(tmp_path / "in", 2)
    for output, shards, name in (
        (source / "out", tmp_path / "s", "output"),
        (tmp_path / "out", source / "s", "shards"),
        (tmp_path / "out", source, "shards"),
    ):
        with pytest.raises(SettingsError, match=f"{name} = .* lies inside the source"):
            extract_frames(str(source), output, str(shards), recipe())
    with pytest.raises(SettingsError, match="workers = 0"):
        extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), recipe(), workers=0)


def test_a_recipe_with_an_unknown_layout_names_the_closest() -> None:
    with pytest.raises(SettingsError, match=r"layout = 'falt'.*Did you mean 'flat'"):
        validate(ExtractRecipe, {"layout": "falt", "dataset": "x"}, "recipe")
    with pytest.raises(SettingsError, match="dataset"):
        validate(ExtractRecipe, {"layout": "flat", "dataset": "../x"}, "recipe")


def test_the_report_shows_counts_reasons_and_some_pictures(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    source = lay(tmp_path / "in")
    (source / "train_images/forged/<script>.gif").write_bytes(b"x")
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), recipe(), workers=1)
    page = (tmp_path / "out/report.html").read_text()
    assert "unknown-extension" in page
    assert "24 samples in 24 groups" in page
    assert 6 <= page.count("data:image/jpeg;base64,") <= 48
    assert "<script>" not in page


def test_the_command_line_prints_a_summary_or_an_error(
    tmp_path: Path, lay: Lay, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text("layout: forged-authentic-masks\ndataset: made\n")
    given = ["--source", str(lay(tmp_path / "in")), "--output", str(tmp_path / "out"), "--shards", str(tmp_path / "s")]
    given += ["--recipe", str(tmp_path / "recipe.yaml"), "--workers", "1", "--work", str(tmp_path / "work")]
    assert main(given) == 0
    assert sum(json.loads(capsys.readouterr().out)["samples"].values()) == 24
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "index.parquet",
        "rejected.jsonl",
        "report.html",
        "spec.json",
    ]
    assert main([*given, "--source", str(tmp_path / "nothing")]) == 1
    assert "error: " in capsys.readouterr().err


def test_workers_carry_neither_torch_nor_kfp_nor_pyarrow() -> None:
    code = "import sys, components.extract_frames.worker; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "kfp", "pyarrow", "boto3"}.isdisjoint(done.stdout.split())


REAL = Path(os.environ.get("VERIFRAME_DATA", Path(__file__).parents[4] / "shared/data"))
needs_real_media = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real media in {REAL}; set VERIFRAME_DATA")


@needs_real_media
def test_real_forgeries_are_extracted_with_their_masks(tmp_path: Path, recipe: MakeRecipe, rejected: Rejected) -> None:
    settings = recipe("images-masks", splits={"all": "test"})
    extract_frames(str(REAL / "forged"), tmp_path / "out", str(tmp_path / "s"), settings, workers=2)
    index = read_index(tmp_path / "out")
    assert rejected(tmp_path / "out") == {}
    assert len(index) == len(list((REAL / "forged/images").iterdir()))
    assert set(index.column("label")) == {1}
    reader = ShardReader(index.shards)
    for row in index.rows():
        stored = decode_mask_png(reader.read(row["shard"], mask_span(row))[0])
        name = Path(row["media_id"]).stem
        with Image.open(REAL / f"forged/masks/{name}.png") as mask:
            assert np.array_equal(stored, np.asarray(mask.convert("L")) > 127)


@needs_real_media
def test_real_photographs_are_extracted_and_told_apart(tmp_path: Path, recipe: MakeRecipe, rejected: Rejected) -> None:
    settings = recipe("flat", splits={"all": "test"})
    extract_frames(str(REAL / "photos"), tmp_path / "out", str(tmp_path / "s"), settings, workers=2)
    index = read_index(tmp_path / "out")
    assert rejected(tmp_path / "out") == {}
    assert len(index) == len(list((REAL / "photos").glob("*.jpg")))
    assert len(set(index.column("group_id"))) > 0.98 * len(index)
    row = index.rows()[0]
    stored = ShardReader(index.shards).read(row["shard"], picture_span(row))[0]
    assert Image.open(io.BytesIO(stored)).size == (row["width"], row["height"])
