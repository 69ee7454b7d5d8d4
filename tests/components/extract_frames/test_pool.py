"""Worker processes that die: a decoder that crashes is played by an image library that aborts at certain bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.extract_frames.extract import extract_frames
from components.extract_frames.pool import WorkerError
from components.extract_frames.recipe import ExtractRecipe
from data.index import read_index

Lay = Callable[..., Path]
MakeRecipe = Callable[..., ExtractRecipe]

# Python imports a module of this name at its start. What it changes, it changes in the workers alone.
ABORTING = """
import os, sys
if any("extract_frames.worker" in argument for argument in sys.orig_argv):
    from PIL import Image
    plain = Image.open
    def guarded(stream, *arguments, **options):
        data = stream.getvalue()
        if data.endswith(b"always deadly"):
            os.abort()
        if data.endswith(b"deadly once") and not os.path.exists({marker!r}):
            open({marker!r}, "w").close()
            os.kill(os.getpid(), 9)
        return plain(stream, *arguments, **options)
    Image.open = guarded
"""


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(ABORTING.format(marker=str(tmp_path / "died")))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def append(path: Path, tail: bytes) -> None:
    path.write_bytes(path.read_bytes() + tail)


@pytest.mark.usefixtures("deadly")
def test_entries_that_kill_workers_are_rejected_and_all_others_taken(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, rejected: Callable[[Path], dict[str, str]]
) -> None:
    source = lay(tmp_path / "in", 40)
    for name in ("authentic/a003", "forged/f035"):
        append(source / f"train_images/{name}.png", b"always deadly")
    append(source / "train_images/authentic/a020.png", b"deadly once")
    extract_frames(str(source), tmp_path / "out", str(tmp_path / "s"), recipe(), workers=2)
    assert rejected(tmp_path / "out") == {
        "train_images/authentic/a003.png": "crashed",
        "train_images/forged/f035.png": "crashed",
    }
    assert "SIGABRT, 2 times" in (tmp_path / "out/rejected.jsonl").read_text()
    assert (tmp_path / "died").exists()
    assert len(read_index(tmp_path / "out")) == 78


def test_workers_that_cannot_start_are_an_error(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import os; os._exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(WorkerError, match="before its first entry \\(exit status 3\\)"):
        extract_frames(str(lay(tmp_path / "in", 2)), tmp_path / "out", str(tmp_path / "s"), recipe(), workers=1)


def test_a_mistake_in_a_worker_is_shown_with_the_entry(
    tmp_path: Path, lay: Lay, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import sys\n"
        "if any('extract_frames.worker' in argument for argument in sys.orig_argv):\n"
        "    import data.grouping\n"
        "    data.grouping.fingerprint = None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(WorkerError, match=r"(?s)train_images/authentic/a000\.png.*not callable"):
        extract_frames(str(lay(tmp_path / "in", 2)), tmp_path / "out", str(tmp_path / "s"), recipe(), workers=1)
