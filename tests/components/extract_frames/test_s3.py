"""Extraction from a real S3 server, and to one."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.errors import StorageError
from core.storage import join, open_store
from data.entries.stills import PICTURES
from data.index import read_index
from data.shards import ShardReader
from data.stored import picture_span

Lay = Callable[..., Path]
MakeRecipe = Callable[..., ExtractRecipe]

pytestmark = pytest.mark.s3


@pytest.fixture
def fill(bucket: str, tmp_path: Path, lay: Lay) -> Callable[[int], str]:
    """A function that lays pictures out under an S3 prefix, with two that are none, and returns its URI."""

    def make(count: int) -> str:
        uri = join(bucket, "sets/made")
        store = open_store(uri)
        source = lay(tmp_path / "in", count)
        for path in sorted(source.rglob("*.*")):
            store.write(path.relative_to(source).as_posix(), path.read_bytes())
        store.write("train_images/authentic/zero.png", b"")
        store.write("train_images/authentic/zz bad.png", b"no picture")
        return uri

    return make


def test_a_prefix_is_extracted_as_a_folder_is_in_bounded_disk(
    fill: Callable[[int], str],
    bucket: str,
    tmp_path: Path,
    recipe: MakeRecipe,
    rejected: Callable[[Path], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(vars(PICTURES), "chunk_entries", 4)
    prefix, settings = fill(30), recipe(shard_bytes=30_000)
    shards, work = join(bucket, "shards"), tmp_path / "work"
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            sizes = []
            for path in work.glob("*.tar"):
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    continue
            peak[0] = max(peak[0], sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        extract_frames(prefix, tmp_path / "out", shards, settings, workers=1, work=work)
    finally:
        ended.set()
        watcher.join()
    total = sum(info.size for info in open_store(shards).list())
    assert total > 350_000
    assert 0 < peak[0] < total / 2
    assert rejected(tmp_path / "out") == {
        "train_images/authentic/zero.png": "empty",
        "train_images/authentic/zz bad.png": "not-a-picture",
    }
    index = read_index(tmp_path / "out")
    assert index.shards == shards
    extract_frames(str(tmp_path / "in"), tmp_path / "local", str(tmp_path / "s"), settings, workers=1)
    local = read_index(tmp_path / "local")
    columns = [name for name in index.table.column_names if name not in ("shard", "offset", "mask_offset")]
    assert index.table.select(columns).equals(local.table.select(columns))
    reader, row = ShardReader(index.shards, cache=tmp_path / "cache"), index.rows()[-1]
    stored = reader.read(row["shard"], picture_span(row))[0]
    assert stored == (tmp_path / "in/train_images" / row["media_id"].removeprefix("made/")).read_bytes()


def test_shards_that_are_there_already_are_not_sent_again(
    fill: Callable[[int], str], bucket: str, tmp_path: Path, recipe: MakeRecipe
) -> None:
    prefix, shards = fill(4), join(bucket, "shards")
    extract_frames(prefix, tmp_path / "one", shards, recipe(), workers=1)
    before = list(open_store(shards).list())
    extract_frames(prefix, tmp_path / "two", shards, recipe(), workers=1)
    assert list(open_store(shards).list()) == before
    assert (tmp_path / "one/index.parquet").read_bytes() == (tmp_path / "two/index.parquet").read_bytes()


def test_a_refused_source_stops_the_step_instead_of_rejecting_everything(
    fill: Callable[[int], str], tmp_path: Path, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = fill(1)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        extract_frames(prefix, tmp_path / "out", str(tmp_path / "s"), recipe(), workers=1)
    assert not (tmp_path / "out/rejected.jsonl").exists()
