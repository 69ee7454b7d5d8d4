"""Extractions that are killed, and started again."""

import fcntl
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.errors import SettingsError
from data.entries.stills import PICTURES
from tests.extractions import kill_when, start

Lay = Callable[..., Path]
MakeRecipe = Callable[..., ExtractRecipe]
Everything = Callable[[Path, Path], dict[str, bytes]]

COUNT = 140  # pictures of each class; five chunks
SHARD_BYTES = 800_000  # two chunks or so


def rows_of(output: Path) -> list[Path]:
    return sorted((output / ".work").glob("*.jsonl"))


def test_a_killed_extraction_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, everything: Everything, jobs: list[str]
) -> None:
    source = lay(tmp_path / "in", COUNT)
    settings = recipe(shard_bytes=SHARD_BYTES)
    extract_frames(str(source), tmp_path / "calm", str(tmp_path / "calm-shards"), settings, workers=2)
    total = -(-2 * COUNT // PICTURES.chunk_entries)
    assert len(jobs) == total
    calm = everything(tmp_path / "calm", tmp_path / "calm-shards")
    shutil.rmtree(tmp_path / "calm-shards")
    output, shards = tmp_path / "out", tmp_path / "calm-shards"  # the index names the place of its shards
    done: set[str] = set()
    for chunks in (1, 3):
        process = start(source, output, shards, settings)
        kill_when(process, lambda chunks=chunks: len(rows_of(output)) >= chunks)
        assert done <= {path.stem for path in rows_of(output)}
        done = {path.stem for path in rows_of(output)}
    process = start(source, output, shards, settings)
    kill_when(process, lambda: bool(list((output / ".work").glob("*.shard-*.json"))))
    done = {path.stem for path in rows_of(output)}
    jobs.clear()
    extract_frames(str(source), output, str(shards), settings, workers=2)
    assert done.isdisjoint(jobs)
    assert len(jobs) == total - len(done) < total
    assert everything(output, shards) == calm
    left = {path.name for path in (output / ".work").iterdir()}
    assert left == {"finished.json", "lock"}


def test_a_stored_shard_that_vanished_is_made_again(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, everything: Everything
) -> None:
    source, output, shards = lay(tmp_path / "in", COUNT), tmp_path / "out", tmp_path / "shards"
    settings = recipe(shard_bytes=SHARD_BYTES)
    process = start(source, output, shards, settings)
    kill_when(process, lambda: bool(list((output / ".work").glob("*.shard-*.json"))))
    for path in shards.iterdir():
        path.unlink()
    extract_frames(str(source), output, str(shards), settings, workers=2)
    killed = everything(output, shards)
    shutil.rmtree(shards)
    extract_frames(str(source), tmp_path / "calm", str(shards), settings, workers=2)
    assert killed == everything(tmp_path / "calm", shards)


def test_what_is_left_of_other_inputs_does_no_harm(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, everything: Everything
) -> None:
    source, output, shards = lay(tmp_path / "in", COUNT), tmp_path / "out", tmp_path / "shards"
    settings = recipe(shard_bytes=SHARD_BYTES)
    process = start(source, output, shards, settings)
    kill_when(process, lambda: bool(list((output / ".work").glob("*.shard-*.json"))))
    for path in sorted((source / "train_images/authentic").iterdir())[-30:]:
        path.unlink()
    shutil.rmtree(shards)
    extract_frames(str(source), output, str(shards), settings, workers=2)
    killed = everything(output, shards)
    shutil.rmtree(shards)
    extract_frames(str(source), tmp_path / "calm", str(shards), settings, workers=2)
    assert killed == everything(tmp_path / "calm", shards)


def test_workers_of_a_killed_extraction_end_by_themselves(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    output = tmp_path / "out"
    process = start(lay(tmp_path / "in", COUNT), output, tmp_path / "shards", recipe())
    deadline = time.monotonic() + 60
    while not (workers := children(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}").exists() and not is_zombie(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_two_extractions_never_share_a_work_folder(tmp_path: Path, lay: Lay, recipe: MakeRecipe) -> None:
    (tmp_path / "work").mkdir()
    with (tmp_path / "work/lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SettingsError, match="another extraction is at work in"):
            extract_frames(
                str(lay(tmp_path / "in", 2)), tmp_path / "out", str(tmp_path / "s"), recipe(), work=tmp_path / "work"
            )
