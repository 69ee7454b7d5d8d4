"""The table of media: a row for each medium and model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.files import atomic_write
from tasks.faces.evaluation_groups import ChosenGroup
from tasks.faces.media_scores import MediaLogits

COPIED = ("dataset", "media_id", "group_id", "method", "compression")
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in COPIED),
        pa.field("label", pa.int8(), nullable=False),  # 0 authentic, 1 manipulated
        pa.field("faces", pa.int32(), nullable=False),  # tracks predicted
        pa.field("frames", pa.int32(), nullable=False),  # frames predicted, of all tracks
        pa.field("model_group", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),  # a member's name, or "ensemble"
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("score", pa.float64()),  # probability of being manipulated, 0..1; null where the model abstained
        pa.field("called_manipulated", pa.bool_()),  # score >= threshold
    ]
)


def write_media_table(path: Path, groups: Sequence[ChosenGroup], media: Mapping[str, MediaLogits]) -> None:
    """Write the Parquet file.

    Args:
        path: the file.
        groups: whose ensembles and members have a row a medium.
        media: by data set.

    Raises:
        StorageError: when it cannot be written.
    """
    with atomic_write(path) as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        for table in _tables(groups, media):
            writer.write_table(table)


def _tables(groups: Sequence[ChosenGroup], media: Mapping[str, MediaLogits]) -> Iterator[pa.Table]:
    for one in media.values():
        for group in groups:
            for name, part in group.parts.items():
                scores, threshold = one.scores(part.members), part.threshold
                columns = {
                    **{column: one.column(column).tolist() for column in COPIED},
                    "label": one.label,
                    "faces": one.faces,
                    "frames": one.frames,
                    "model_group": [group.name] * len(one),
                    "model": [name] * len(one),
                    "threshold": np.full(len(one), threshold),
                    "score": pa.array(scores, mask=np.isnan(scores)),
                    "called_manipulated": pa.array(scores >= threshold, mask=np.isnan(scores)),
                }
                yield pa.table(columns, schema=SCHEMA)
