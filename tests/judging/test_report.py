import base64
import re
from pathlib import Path

import pytest

from core.errors import StorageError
from judging.report import Cell, Figure, Section, Table, render_report


def _render(tmp_path: Path, *sections: Section) -> str:
    path = tmp_path / "report.html"
    render_report(path, "A <title>", list(sections))
    return path.read_text(encoding="utf-8")


def test_text_is_escaped(tmp_path: Path) -> None:
    page = _render(tmp_path, Section("S & T", ["<script>alert(1)</script>"]))
    assert "<script>" not in page
    assert "A &lt;title&gt;" in page
    assert "S &amp; T" in page


def test_numbers_are_right_aligned_and_text_is_not(tmp_path: Path) -> None:
    table = Table(["model", "F1"], [["v3", Cell(0.51234, "0.4 to 0.6")], ["v4", None]], "Figures", digits=2)
    page = _render(tmp_path, Section("S", tables=[table]))
    assert '<td class="number">0.51<small>0.4 to 0.6</small></td>' in page
    assert '<td class="number">–</td>' in page
    assert "<td>v3</td>" in page
    assert "<th>model</th>" in page
    assert '<th class="number">F1</th>' in page


def test_counts_have_thousands_separators(tmp_path: Path) -> None:
    page = _render(tmp_path, Section("S", tables=[Table(["n"], [[1234567]])]))
    assert ">1,234,567</td>" in page


def test_pictures_are_embedded_and_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    section = Section("S", figures=[Figure(b"one", "first")], gallery=[Figure(b"two")])
    page = _render(tmp_path, section)
    sources = re.findall(r'src="([^"]*)"', page)
    assert [base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources] == [b"one", b"two"]
    assert "http" not in page


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=str(tmp_path / "file")):
        render_report(tmp_path / "file" / "report.html", "T", [])
