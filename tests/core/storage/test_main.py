"""The command line of the stores."""

import os
from pathlib import Path

import pytest

from core.storage.__main__ import main


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "place") if request.param == "file" else str(request.getfixturevalue("bucket"))


def test_cp_and_ls(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(1000))
    assert main(["cp", str(source), f"{place}/folder/"]) == 0
    assert main(["ls", place]) == 0
    assert capsys.readouterr().out.split() == ["1000", "folder/source.bin"]
    assert main(["cp", f"{place}/folder/source.bin", f"{place}/copy"]) == 0
    assert main(["cp", f"{place}/copy", str(tmp_path / "back")]) == 0
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_an_error_is_one_line_and_a_status(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", f"{place}/nothing", str(tmp_path / "target")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "target").exists()


def test_a_relative_source_is_taken_from_the_working_folder(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("source").write_bytes(b"1")
    assert main(["cp", "source", f"{place}/target"]) == 0
    assert main(["cp", f"{place}/target", "back"]) == 0
    assert Path("back").read_bytes() == b"1"
