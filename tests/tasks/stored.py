"""Indexes made by hand: samples in, shards and the index that points into them out."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.fragments import FragmentWriter, assemble
from data.index import SampleIndex, schema_for
from data.samples import sample_id
from media.extraction import SampleSpec
from media.pictures import encode_png


@dataclass(frozen=True)
class Given:
    """One sample of an index: a picture, or with ``frame`` one of a medium's."""

    rgb: np.ndarray
    mask: np.ndarray | None = None
    label: int = 0
    medium: str = "0"
    frame: int = 0
    forged_fraction: float = 0.0


def build_index(
    folder: Path, samples: Sequence[Given], spec: SampleSpec | None = None, target_bytes: int = 60_000
) -> SampleIndex:
    """Write the samples to shards of about ``target_bytes`` and return the index, all of the train split."""
    rows, fragments = [], []
    for given in samples:
        media_id = f"set/x/{given.medium}"
        name = sample_id(media_id, given.frame, 0)
        fragments.append(folder / f"{name}.fragment")
        with FragmentWriter(fragments[-1]) as writer:
            picture = encode_png(given.rgb)
            offset, size = writer.add(f"{name}.png", picture)
            mask = None if given.mask is None else encode_png(given.mask)
            mask_offset, mask_size = (None, None) if mask is None else writer.add(f"{name}.mask.png", mask)
        rows.append(
            {
                "sample_id": name, "media_id": media_id, "group_id": given.medium, "dataset": "set", "method": "x",
                "compression": "png", "label": given.label, "label_name": ("real", "forged")[given.label],
                "split": "train", "frame": given.frame, "time_ms": 40.0 * given.frame, "track": 0, "run": 0,
                "width": given.rgb.shape[1], "height": given.rgb.shape[0], "forged_fraction": given.forged_fraction,
                "offset": offset, "size": size, "mask_offset": mask_offset, "mask_size": mask_size,
                "crc32": zlib.crc32(picture), "mask_crc32": None if mask is None else zlib.crc32(mask),
            }
        )  # fmt: skip
    for row, at in zip(rows, assemble(fragments, folder, target_bytes=target_bytes), strict=True):
        row["shard"] = at.shard_name
        row["offset"] += at.base_offset
        if row["mask_offset"] is not None:
            row["mask_offset"] += at.base_offset
    spec = spec or SampleSpec()
    return SampleIndex(pa.Table.from_pylist(rows, schema=schema_for(spec, str(folder))), spec, str(folder), "0" * 64)
