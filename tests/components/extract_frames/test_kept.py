"""Extractions that go on elsewhere: a retry in a fresh folder, and parts that are joined."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.storage import Store, open_store
from core.storage.local import FileStore
from core.storage.s3 import S3Store
from data.entries.stills import PICTURES
from data.index import read_index
from data.shards import ShardReader
from data.stored import picture_span
from tests.extractions import kill_when, start

Lay = Callable[..., Path]
MakeRecipe = Callable[..., ExtractRecipe]
Everything = Callable[[Path, Path], dict[str, bytes]]

COUNT = 40  # pictures of each class
CHUNKS = 10
PARTS = 3


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Eight pictures a chunk, also in processes that are started."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "if any(argument.endswith('extract_frames') for argument in sys.orig_argv):\n"
        "    from data.entries.stills import PICTURES\n"
        "    vars(PICTURES)['chunk_entries'] = 8\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}:{Path(__file__).resolve().parents[3]}")
    monkeypatch.setitem(vars(PICTURES), "chunk_entries", 2 * COUNT // CHUNKS)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where chunks and shards go: a folder, or S3."""
    return str(tmp_path / "place") if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.fixture
def settings(recipe: MakeRecipe) -> ExtractRecipe:
    return recipe(shard_bytes=80_000)  # three chunks or so


def keys(store: Store, ending: str) -> set[str]:
    return {info.key for info in store.list() if info.key.endswith(ending)}


def contents(output: Path, shards: str) -> dict[str, bytes]:
    """Everything that an extraction wrote."""
    store = open_store(shards)
    files = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    return files | {info.key: store.read(info.key) for info in store.list()}


def empty(uri: str) -> None:
    store = open_store(uri)
    for info in list(store.list()):
        store.delete(info.key)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Bytes read from and written to stores, by URI's last part and the extension of the key."""
    counts: Counter[str] = Counter()

    def count(store: Store, key: str, size: int) -> None:
        counts[f"{store.uri.rpartition('/')[2]} {key.rpartition('.')[2]}"] += size

    for kind in (FileStore, S3Store):
        for name in ("read", "write", "upload", "download"):
            method = getattr(kind, name)

            def counted(self: Store, first: object, *rest: object, _m=method, _n=name, **options: object) -> object:
                answer = _m(self, first, *rest, **options)
                if _n == "read":
                    count(self, str(first), len(answer))
                elif _n == "write":
                    count(self, str(first), len(rest[0]))  # type: ignore[arg-type]
                else:
                    key, path = (rest[0], first) if _n == "upload" else (first, rest[0])
                    count(self, str(key), Path(str(path)).stat().st_size)
                return answer

            monkeypatch.setattr(kind, name, counted)
    return counts


def test_a_retry_in_a_fresh_folder_does_only_what_is_missing(
    tmp_path: Path, lay: Lay, settings: ExtractRecipe, jobs: list[str], place: str
) -> None:
    source, shards, chunks = lay(tmp_path / "in", COUNT), f"{place}/shards", f"{place}/chunks"
    extract_frames(str(source), tmp_path / "calm", shards, settings, workers=2)
    assert len(jobs) == CHUNKS
    calm = contents(tmp_path / "calm", shards)
    empty(shards)
    kept = open_store(chunks)
    done: set[str] = set()
    for number, ending in enumerate((".jsonl", ".json")):  # first amid the chunks of a shard, then after one
        process = start(source, tmp_path / f"killed{number}", shards, settings, "--chunks", chunks)
        kill_when(process, lambda ending=ending: bool(keys(kept, ending)))
        assert done <= {key.partition(".")[0] for key in keys(kept, ".jsonl")}
        done = {key.partition(".")[0] for key in keys(kept, ".jsonl")}
    jobs.clear()
    extract_frames(str(source), tmp_path / "out", shards, settings, workers=2, chunks=chunks)
    assert done
    assert done.isdisjoint(jobs)
    assert len(jobs) == CHUNKS - len(done)
    assert contents(tmp_path / "out", shards) == calm


def test_pixels_are_kept_until_their_shard_is_stored_and_rows_for_the_next_run(
    tmp_path: Path, lay: Lay, settings: ExtractRecipe, jobs: list[str], place: str
) -> None:
    source, shards, chunks = lay(tmp_path / "in", COUNT), f"{place}/shards", f"{place}/chunks"
    process = start(source, tmp_path / "killed", shards, settings, "--chunks", chunks)
    kill_when(process, lambda: bool(keys(open_store(chunks), ".json")))
    extract_frames(str(source), tmp_path / "one", shards, settings, workers=2, chunks=chunks)
    assert keys(open_store(chunks), ".tar") == set()
    assert len(keys(open_store(chunks), ".jsonl")) == CHUNKS
    assert sorted(path.name for path in (tmp_path / "one/.work").iterdir()) == ["finished.json", "lock"]
    jobs.clear()
    extract_frames(str(source), tmp_path / "two", shards, settings, workers=2, chunks=chunks)
    assert jobs == []
    assert contents(tmp_path / "two", shards) == contents(tmp_path / "one", shards)


def test_a_share_that_was_killed_is_retried_and_the_join_moves_rows_alone(
    tmp_path: Path, lay: Lay, settings: ExtractRecipe, jobs: list[str], place: str, moved: Counter[str]
) -> None:
    source, shards, chunks = lay(tmp_path / "in", COUNT), f"{place}/shards", f"{place}/chunks"
    given, shares = (str(source), shards, settings), {"chunks": chunks, "parts": PARTS}
    process = start(source, tmp_path / "killed", shards, settings, "--chunks", chunks, "--part=0", f"--parts={PARTS}")
    kill_when(process, lambda: bool(keys(open_store(chunks), ".jsonl")))
    done = {key.partition(".")[0] for key in keys(open_store(chunks), ".jsonl")}
    for part in range(PARTS):
        summary = extract_frames(given[0], tmp_path / f"part{part}", *given[1:], workers=2, part=part, **shares)
        assert summary.samples == {}
        assert [path.name for path in (tmp_path / f"part{part}/.work").iterdir()] == ["lock"]
    assert done.isdisjoint(jobs)
    assert len(jobs) == CHUNKS - len(done)
    before = list(open_store(shards).list())
    assert len(before) > PARTS
    jobs.clear()
    moved.clear()
    extract_frames(given[0], tmp_path / "joined", *given[1:], workers=2, **shares)
    assert jobs == []
    assert list(open_store(shards).list()) == before
    rows = sum(info.size for info in open_store(chunks).list() if info.key.endswith(".jsonl"))
    assert moved["chunks jsonl"] == rows
    assert {name for name, size in moved.items() if size} == {"chunks jsonl", "chunks json"}
    assert sum(moved.values()) < sum(info.size for info in before)
    joined = contents(tmp_path / "joined", shards)

    empty(shards)
    empty(chunks)
    extract_frames(given[0], tmp_path / "again", *given[1:], workers=1, **shares)  # all of it in one place
    assert contents(tmp_path / "again", shards) == joined


def test_an_index_over_the_shards_of_parts_reads_the_same_samples(
    tmp_path: Path, lay: Lay, settings: ExtractRecipe
) -> None:
    source = str(lay(tmp_path / "in", COUNT))
    extract_frames(source, tmp_path / "whole", str(tmp_path / "w"), settings, workers=2)
    shares = {"chunks": str(tmp_path / "chunks"), "parts": PARTS}
    for part in (2, 0):  # one never ran
        extract_frames(source, tmp_path / f"part{part}", str(tmp_path / "p"), settings, part=part, workers=1, **shares)
    extract_frames(source, tmp_path / "joined", str(tmp_path / "p"), settings, workers=1, **shares)
    whole, joined = read_index(tmp_path / "whole"), read_index(tmp_path / "joined")
    placed = ("shard", "offset", "mask_offset")
    columns = [name for name in whole.table.column_names if name not in placed]
    assert whole.table.select(columns).equals(joined.table.select(columns))
    assert {path.name for path in (tmp_path / "p").iterdir()} == set(joined.column("shard"))
    readers = ShardReader(whole.shards), ShardReader(joined.shards)
    for one, other in zip(whole.rows(), joined.rows(), strict=True):
        assert (
            readers[0].read(one["shard"], picture_span(one))[0]
            == readers[1].read(other["shard"], picture_span(other))[0]
        )


def test_a_share_of_rejected_inputs_alone_is_finished_too(
    tmp_path: Path, recipe: MakeRecipe, lay: Lay, jobs: list[str]
) -> None:
    source = lay(tmp_path / "in", 4)
    for number in range(8):
        (source / f"train_images/forged/z{number}.png").write_bytes(b"no picture")
        shutil.copy(source / "train_masks/f000.npy", source / f"train_masks/z{number}.npy")
    given = {"chunks": str(tmp_path / "chunks"), "parts": 2, "workers": 1}
    for part in (0, 1):
        extract_frames(str(source), tmp_path / f"p{part}", str(tmp_path / "s"), recipe(), part=part, **given)
    jobs.clear()
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), recipe(), **given)
    assert jobs == []
    assert len((tmp_path / "out/rejected.jsonl").read_text().splitlines()) == 8
    note = json.loads((tmp_path / "out/.work/finished.json").read_text())
    assert set(note["shards"]) == {path.name for path in (tmp_path / "s").iterdir()}
