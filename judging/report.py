"""HTML reports in one style: a title and sections of text, tables and pictures, in a single file that loads nothing.

This module imports neither torch nor matplotlib, so any step may use it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.files import write_text

Value = str | int | float | None


@dataclass(frozen=True)
class Cell:
    """A table cell with a small grey note behind the value, such as an interval or a reason."""

    value: Value
    note: str = ""


Row = Sequence[Value | Cell]


@dataclass(frozen=True)
class Table:
    """A table; numbers are right-aligned, floats are shown with ``digits`` decimals and None as a dash."""

    columns: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""
    digits: int = 3

    def numeric(self, column: int) -> bool:
        """Whether a column holds no text, so that its heading stands over right-aligned numbers."""
        values = [row[column] for row in self.rows]
        return not any(isinstance(v.value if isinstance(v, Cell) else v, str) for v in values)


@dataclass(frozen=True)
class Figure:
    """An encoded picture (``data``, PNG unless ``mime`` says otherwise) with a caption."""

    data: bytes
    caption: str = ""
    mime: str = "image/png"

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True)
class Section:
    """One section: paragraphs, then tables, then figures, then a gallery of small pictures laid out in a grid."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    gallery: Sequence[Figure] = field(default=())


def shown(metrics: Mapping[str, Any], name: str) -> Cell:
    """Return a figure as a cell: its interval behind it, or the reason why it is not defined."""
    value = metrics.get(name)
    if value is None:
        return Cell(None, metrics.get("undefined", {}).get(name, ""))
    low_high = metrics.get("intervals", {}).get(name)
    return Cell(float(value), f"{low_high[0]:.3f}–{low_high[1]:.3f}" if low_high else "")


def _view(value: Value | Cell, digits: int) -> dict[str, str | bool]:
    cell = value if isinstance(value, Cell) else Cell(value)
    shown = cell.value
    if shown is None:
        text = "–"
    elif isinstance(shown, float):
        text = f"{shown:.{digits}f}"
    elif isinstance(shown, int) and not isinstance(shown, bool):
        text = f"{shown:,}"
    else:
        text = str(shown)
    return {"text": text, "note": cell.note, "number": not isinstance(shown, str)}


def render_report(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write a self-contained HTML page.

    Args:
        path: the file to write; it appears whole or not at all.
        title: shown as heading and in the browser's tab.
        sections: shown in order. All text is escaped.

    Raises:
        StorageError: when the file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    write_text(path, template.render(title=title, sections=sections, view=_view))
