"""The per-image table: a row for each picture and model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bundle.regions.verdict import OperatingPoint
from core.files import atomic_write
from tasks.regions.statistics import PixelStatistics

SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("media_id", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("compression", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("forged_fraction", pa.float64(), nullable=False),  # by the ground truth, 0..1
        pa.field("model_group", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),  # a member's name, or "ensemble"
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("min_area_fraction", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),  # of the picture; >= threshold where called forged
        pa.field("called_forged", pa.bool_(), nullable=False),
        pa.field("marked_fraction", pa.float64(), nullable=False),  # pixels marked / pixels, 0 unless called forged
        pa.field("f1", pa.float64()),  # null for pictures without a forged region
        pa.field("iou", pa.float64()),
    ]
)

COPIED = ("sample_id", "media_id", "group_id", "method", "compression")


@dataclass(frozen=True)
class Model:
    """A model on a data set.

    Attributes:
        dataset: its name.
        group: the model's.
        name: a member's, or ``ensemble``.
        statistics: of the pictures.
        point: the model's operating point.
    """

    dataset: str
    group: str
    name: str
    statistics: PixelStatistics
    point: OperatingPoint


def write_table(path: Path, models: Sequence[Model]) -> None:
    """Write the Parquet file.

    Args:
        path: the file.
        models: whose rows.

    Raises:
        StorageError: when it cannot be written.
    """
    with atomic_write(path) as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        for table in _tables(models):
            writer.write_table(table)


def _tables(models: Sequence[Model]) -> Iterator[pa.Table]:
    for model in models:
        statistics, point = model.statistics, model.point
        count = len(statistics)
        counted = statistics.at(point.threshold, point.min_area_fraction)
        columns = {
            "dataset": [model.dataset] * count,
            **{name: statistics.column(name).tolist() for name in COPIED},
            "label": statistics.label,
            "forged_fraction": statistics.forged_fraction,
            "model_group": [model.group] * count,
            "model": [model.name] * count,
            "threshold": np.full(count, point.threshold),
            "min_area_fraction": np.full(count, point.min_area_fraction),
            "score": statistics.image_scores(point.min_area_fraction),
            "called_forged": counted.verdict,
            "marked_fraction": (counted.tp + counted.fp) / statistics.pixels,
            **{
                name: pa.array(values, mask=~statistics.localised)
                for name, values in (("f1", counted.f1), ("iou", counted.iou))
            },
        }
        yield pa.table(columns, schema=SCHEMA)
