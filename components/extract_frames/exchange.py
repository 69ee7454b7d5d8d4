"""The extraction as a step of a pipeline: its index is an artifact, and is also kept at an address."""

from pathlib import Path
from typing import Any

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.artifacts import keep
from core.files import write_text
from core.settings import parse
from core.storage import join


def extract_artifact(
    source: str,
    dataset: str,
    shards: str,
    recipe: str,
    address: str,
    indexes: str = "",
    workers: int = 0,
    chunks: str = "",
    part: int = -1,
    parts: int = 1,
) -> dict[str, Any]:
    """Extract a data set, keep its index, and return what is noted on the artifact.

    Args:
        source: where the layout begins.
        dataset: folder of the index.
        shards: URI under which shards are stored.
        recipe: ``ExtractRecipe`` as JSON.
        address: file to write the address into at which the index is kept; nothing is written where it is not.
        indexes: URI under which it is kept; "" keeps it not.
        workers: processes; 0 for one a processor.
        chunks: URI under which finished chunks are kept.
        part: which share, of which no index is kept; -1 for the whole.
        parts: number of shares.

    Raises:
        VeriframeError: as ``extract_frames``, and when the index cannot be kept.
    """
    settings, folder, whole = parse(ExtractRecipe, recipe, "recipe"), Path(dataset), part < 0
    share = None if whole else part
    summary = extract_frames(
        source, folder, shards, settings, workers=workers or None, chunks=chunks, part=share, parts=parts
    )
    write_text(Path(address), keep(folder, join(indexes, settings.dataset)) if indexes and whole else "")
    return {"samples": summary.samples, "rejected": summary.rejected, "index_sha256": summary.index_sha256}
