import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import BadInputError, SettingsError
from media.forging import ForgeRequest, ForgeSettings, find_photos, folder, forge_folder
from media.forging.folder import name_photos
from media.forging.settings import ProcessingSettings
from media.pictures import decode_mask, decode_picture, encode_png

REQUEST = ForgeRequest(seed=5, per_photo=2, authentic_per_photo=2, cluster=3)


def hashes(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory, photos):
    """Photographs and what became of them: (folder of photographs, output, summary)."""
    root = tmp_path_factory.mktemp("forging")
    source = root / "photos"
    source.mkdir()
    for name, rgb in photos.items():
        (source / f"{name}.png").write_bytes(encode_png(rgb))
        cv2.imwrite(str(source / f"{name}_jpeg.jpg"), rgb[::-1, ::-1, ::-1])
    return source, root / "out", forge_folder(find_photos(source), root / "out", REQUEST)


def test_the_layout_holds_each_forgery_with_its_mask_and_provenance(made):
    _, output, summary = made
    forged = sorted((output / "train_images/forged").iterdir())
    assert len(forged) == summary.forged == 16
    assert sum(summary.kinds.values()) == 16
    provenance = {line["image"]: line for line in lines(output / "provenance.jsonl")}
    for path in forged:
        picture = decode_picture(path.read_bytes())
        mask = decode_mask((output / "train_masks" / f"{path.stem}.npy").read_bytes(), picture.shape[:2])
        assert 0 < mask.mean() <= 0.6
        line = provenance[path.relative_to(output).as_posix()]
        assert line["sources"][0] == path.stem.rsplit("_", 1)[0]
        assert (len(line["sources"]) == 2) == (line["recipe"]["kind"] == "splice")
    assert len(list((output / "train_masks").iterdir())) == 16
    written = {p.relative_to(output).as_posix() for p in (output / "train_images").rglob("*") if p.is_file()}
    assert set(provenance) == written


def test_no_group_of_sources_is_larger_than_a_cluster(made):
    _, output, _ = made
    groups = []
    for line in lines(output / "provenance.jsonl"):
        joined = set(line["sources"])
        for group in [g for g in groups if g & joined]:
            groups.remove(group)
            joined |= group
        groups.append(joined)
    assert max(len(group) for group in groups) <= REQUEST.cluster
    assert len(set().union(*groups)) == 8


def test_authentic_pictures_are_original_bytes_or_went_through_what_their_forgery_did(made):
    source, output, summary = made
    originals = {p.stem: p.read_bytes() for p in source.iterdir()}
    provenance = {line["image"].rsplit(".", 1)[0]: line for line in lines(output / "provenance.jsonl")}
    untouched = 0
    for path in (output / "train_images/authentic").iterdir():
        line = provenance[f"train_images/authentic/{path.stem}"]
        twin = provenance[f"train_images/forged/{path.stem}"]
        if "seed" not in line["recipe"]:
            untouched += 1
            assert path.read_bytes() == originals[line["sources"][0]]
            assert twin["recipe"]["history"] == twin["recipe"]["finish"] == []
        else:
            assert line["recipe"]["history"] == twin["recipe"]["history"]
            assert line["recipe"]["finish"] == twin["recipe"]["finish"]
    assert 0 < untouched < summary.authentic


def test_a_picture_through_which_nothing_goes_is_written_once(tmp_path, photo_folder):
    nothing = ProcessingSettings(untouched=1.0)
    request = REQUEST.model_copy(update={"settings": ForgeSettings(history=nothing, finish=nothing)})
    summary = forge_folder(find_photos(photo_folder), tmp_path / "out", request)
    assert summary.authentic == 6


def test_processes_and_order_of_the_photographs_do_not_change_a_byte(made, tmp_path):
    source, output, _ = made
    forge_folder(find_photos(source)[::-1], tmp_path / "again", REQUEST, workers=2)
    assert hashes(tmp_path / "again") == hashes(output)


def test_another_seed_gives_other_forgeries(made, tmp_path):
    source, output, _ = made
    forge_folder(find_photos(source), tmp_path / "other", REQUEST.model_copy(update={"seed": 6}))
    first, second = hashes(output), hashes(tmp_path / "other")
    same = [k for k in first if k.startswith("train_images/forged") and first[k] == second.get(k)]
    assert same == []


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(made, tmp_path, monkeypatch):
    source, output, _ = made
    real, calls = folder.forge_cluster, []

    def interrupted(photos, *rest):
        calls.append(photos)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(photos, *rest)

    target = tmp_path / "out"
    monkeypatch.setattr(folder, "forge_cluster", interrupted)
    with pytest.raises(KeyboardInterrupt):
        forge_folder(find_photos(source), target, REQUEST)
    assert not (target / "provenance.jsonl").exists()
    (target / "train_masks" / ".half-written").write_bytes(b"x")
    forge_folder(find_photos(source), target, REQUEST)
    assert len(calls) == 4  # three clusters, of which the second was begun twice
    assert hashes(target) == hashes(output)
    forge_folder(find_photos(source), target, REQUEST)
    assert len(calls) == 4


def test_bad_photographs_are_set_aside_with_a_reason(photo_folder, tmp_path):
    (photo_folder / "empty.jpg").write_bytes(b"")
    (photo_folder / "words.png").write_text("no picture")
    (photo_folder / "cut.png").write_bytes((photo_folder / "coffee.png").read_bytes()[:2000])
    (photo_folder / "tiny.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    (photo_folder / "blank.png").write_bytes(encode_png(np.full((120, 130, 3), 255, np.uint8)))
    options = ForgeSettings(splice=0, history=ProcessingSettings(untouched=1), attempts=2)
    summary = forge_folder(find_photos(photo_folder), tmp_path / "out", ForgeRequest(per_photo=1, settings=options))
    reasons = {line["image"]: line["reason"] for line in lines(tmp_path / "out" / "rejected.jsonl")}
    assert reasons.pop("cut.png") in {"truncated", "damaged"}
    assert reasons == {
        "empty.jpg": "empty",
        "words.png": "not-a-picture",
        "tiny.png": "too-small",
        "blank.png": "nothing-to-forge",
    }
    assert summary.rejected == 5
    assert summary.forged == 6


def test_when_no_photograph_can_be_used_the_error_says_where_to_look(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"junk")
    with pytest.raises(BadInputError, match=r"rejected\.jsonl"):
        forge_folder(find_photos(tmp_path / "photos"), tmp_path / "out", REQUEST)


def test_the_output_of_another_request_or_of_something_else_is_not_touched(made, tmp_path):
    source, output, _ = made
    copy = tmp_path / "copy"
    shutil.copytree(output, copy)
    before = hashes(copy)
    with pytest.raises(SettingsError, match="other photographs or settings"):
        forge_folder(find_photos(source), copy, REQUEST.model_copy(update={"per_photo": 1}))
    with pytest.raises(SettingsError, match="other photographs or settings"):
        forge_folder(find_photos(source)[:3], copy, REQUEST)
    assert hashes(copy) == before
    with pytest.raises(SettingsError, match="not empty"):
        forge_folder(find_photos(source), source, REQUEST)


def test_nothing_to_work_on_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="no photographs"):
        find_photos(tmp_path)
    with pytest.raises(SettingsError, match="no photographs"):
        forge_folder([], tmp_path / "out", REQUEST)


def test_names_are_unique_plain_and_do_not_depend_on_the_machine(tmp_path):
    paths = ["a/x.jpg", "b/x.jpg", "b/X.png", "b/y y.png", "b/ü.png", "b/plain.png"]
    first = {p.path.relative_to("/m1").as_posix(): p.id for p in name_photos([Path("/m1") / p for p in paths])}
    second = {p.path.relative_to("/m2").as_posix(): p.id for p in name_photos([Path("/m2") / p for p in paths[::-1]])}
    assert first == second
    assert len({name.lower() for name in first.values()}) == len(paths)
    assert first["b/plain.png"] == "plain"
    assert all(name.isascii() and " " not in name for name in first.values())
