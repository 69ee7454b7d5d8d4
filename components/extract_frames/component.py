"""The extraction step, declared to KFP."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from components.images import EXTRACTOR


@dsl.component(base_image=EXTRACTOR, install_kfp_package=False)
def extract_frames(
    source: str,
    shards: str,
    recipe: str,
    dataset: Output[Dataset],
    index: dsl.OutputPath(str),  # type: ignore[valid-type]
    workers: int = 0,
    chunks: str = "",
    part: int = -1,
    parts: int = 1,
    indexes: str = "",
) -> None:
    """Turn a layout into a sample index and shards, or do one of several shares of that.

    Args:
        source: Folder or `s3://` prefix where the layout begins.
        shards: URI under which shards are stored.
        recipe: `ExtractRecipe` as JSON.
        workers: Processes; 0 for one a processor.
        chunks: URI under which finished chunks are kept, for a retry and for the whole; empty keeps them not.
        part: Which share, from 0; -1 does what is missing of all and makes the index.
        parts: Number of shares.
        indexes: URI under which the index is kept; empty keeps it not.

    Returns:
        dataset: The sample index; of a share, empty.
        index: Address under `indexes` at which the index is kept for the evaluation; empty where it is not.
    """
    from components.extract_frames.exchange import extract_artifact as run

    dataset.metadata.update(run(source, dataset.path, shards, recipe, index, indexes, workers, chunks, part, parts))
