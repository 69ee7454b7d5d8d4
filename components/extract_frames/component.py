"""The extraction step as KFP sees it."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from components.images import EXTRACTOR


@dsl.component(base_image=EXTRACTOR, install_kfp_package=False)
def extract_frames(
    source: str,
    shards: str,
    recipe: str,
    dataset: Output[Dataset],
    workers: int = 0,
    chunks: str = "",
    part: int = 0,
    parts: int = 0,
) -> None:
    """Turn a layout into a sample index and shards, or do one of several shares of that.

    Args:
        source: where the layout begins.
        shards: URI under which shards are stored.
        recipe: ``ExtractRecipe`` as JSON.
        dataset: the sample index; of a share, empty.
        workers: processes; 0 for one a core.
        chunks: URI where shares put what they finished, and the whole takes it from.
        part: which share, from 0.
        parts: number of shares; 0 for the whole.
    """
    from pathlib import Path

    from components.extract_frames.extract import extract_frames as run
    from components.extract_frames.recipe import ExtractRecipe
    from core.settings import parse

    settings, share = parse(ExtractRecipe, recipe, "recipe"), (part, parts) if parts else None
    summary = run(source, Path(dataset.path), shards, settings, workers=workers or None, chunks=chunks, part=share)
    dataset.metadata.update(samples=summary.samples, rejected=summary.rejected, index_sha256=summary.index_sha256)
