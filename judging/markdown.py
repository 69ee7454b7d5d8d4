"""Markdown for cards: tables and numbers as all of them show them."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; cells are written as they are."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Return a figure with four digits; None was not measured."""
    return "not measured" if value is None else f"{value:.4g}"
