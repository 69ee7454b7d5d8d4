"""The JSONL log of a run: a line an epoch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.files import write_text


class EpochLog:
    """The lines so far, and the file they are in; the file is replaced as a whole, so it never ends in half a line."""

    def __init__(self, path: Path | None) -> None:
        """Set up an empty log; the file is written with the first line, or never without a path."""
        self.path = path
        self.lines: list[dict[str, Any]] = []

    def add(self, line: dict[str, Any]) -> None:
        """Append a line."""
        self.lines.append(line)
        self._write()

    def restore(self, lines: Sequence[dict[str, Any]]) -> None:
        """Take over the lines of an earlier start of the run, in place of what is there."""
        self.lines = list(lines)
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
