"""The note of a finished extraction, by which a second start with the same inputs sees that nothing is missing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.extract_frames.plan import Plan
from components.extract_frames.recipe import ExtractRecipe
from core.files import sha256_file, write_text
from core.storage import Store
from data.index import INDEX_FILE, REJECTED_FILE, REPORT_FILE, SPEC_FILE

FILE = "finished.json"
_OUTPUTS = (INDEX_FILE, SPEC_FILE, REJECTED_FILE, REPORT_FILE)


def inputs_sha256(
    plan: Plan, chunks: Sequence[str], recipe: ExtractRecipe, shards: str, parts: int, split_file: bytes
) -> str:
    """Hash all that decides what comes out; ``plan`` must be as the listing left it."""
    digest = hashlib.sha256(json.dumps([recipe.to_json(), shards, parts, list(chunks)]).encode())
    digest.update(hashlib.sha256(split_file).digest())
    for _, line in plan.rejections():
        digest.update(line.encode())
    return digest.hexdigest()


def finished(folder: Path, output: Path, shards: Store, inputs: str) -> dict[str, Any] | None:
    """Return the summary of a finished extraction of the same inputs, if all that it wrote is still there."""
    try:
        note = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if note["inputs"] != inputs:
        return None
    with suppress(FileNotFoundError):
        if note["files"] != _hashes(output):
            return None
        for name, size in note["shards"].items():
            stored = shards.head(name)
            if stored is None or stored.size != size:
                return None
        return dict(note["summary"])
    return None


def remember(folder: Path, output: Path, inputs: str, summary: Mapping[str, Any], shards: Mapping[str, int]) -> None:
    """Write the note.

    Args:
        folder: of the work.
        output: of the sample index.
        inputs: from ``inputs_sha256``.
        summary: what ``finished`` shall return.
        shards: size in bytes by name.
    """
    note = {"inputs": inputs, "summary": summary, "files": _hashes(output), "shards": shards}
    write_text(folder / FILE, json.dumps(note, sort_keys=True))


def _hashes(output: Path) -> dict[str, str]:
    return {name: sha256_file(output / name) for name in _OUTPUTS}
