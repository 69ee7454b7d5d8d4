"""A data set and a recipe small enough to train on in a second, made from photographs that scikit-image ships."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skimage import data

from media.index import INDEX_FILE, REJECTED_FILE, SPEC_FILE, sample_id, schema_for
from media.pictures import encode_png
from media.shards import FragmentWriter, assemble
from media.spec import PreprocessingSpec

SIDE = 96  # px
SPLITS = {"train": 12, "val": 6, "test": 6}  # pictures, every other one forged


def _crops() -> list[np.ndarray]:
    """Return 24 pictures, uint8 [96, 96, 3], which share no pixel."""
    return [
        np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])
        for picture in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
        for top in (0, SIDE)
        for left in (0, 2 * SIDE, SIDE)
    ]


def _forge(target: np.ndarray, donor: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Paste an ellipse of ``donor`` into ``target``; return picture and mask, its area between 0.5 and 12 %."""
    mask = np.zeros(target.shape[:2], dtype=np.uint8)
    axes = (4 + 4 * (number % 4), 4 + 3 * (number % 3))
    cv2.ellipse(mask, (30 + 7 * (number % 5), 40 + 5 * (number % 4)), axes, 15 * number, 0, 360, 1, -1)
    forged = target.copy()
    forged[mask == 1] = donor[mask == 1]
    return forged, mask.astype(bool)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder of 24 pictures of 96×96 px with their shards: half forged, 12 train, 6 val, 6 test."""
    folder = tmp_path_factory.mktemp("tiny")
    index, shards = folder / "index", folder / "shards"
    index.mkdir()
    shards.mkdir()
    crops = _crops()
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    rows: list[dict[str, Any]] = []
    fragments = []
    order = np.random.default_rng(0).permutation(len(crops))
    for number, (place, split) in enumerate(zip(order, splits, strict=True)):
        forged = number % 2 == 1
        rgb, mask = _forge(crops[place], crops[place - 1], number) if forged else (crops[place], None)
        media_id = f"skimage/{'paste' if forged else 'none'}/{number:02d}.png"
        name = sample_id(media_id)
        fragments.append(folder / f"{number}.fragment")
        with FragmentWriter(fragments[-1]) as writer:
            offset, size = writer.add(f"{name}.png", encode_png(rgb))
            mask_offset, mask_size = (None, None) if mask is None else writer.add(f"{name}.mask.png", encode_png(mask))
        rows.append(
            {
                "sample_id": name, "media_id": media_id, "group_id": f"group-{number:02d}", "dataset": "skimage",
                "method": "paste" if forged else "none", "compression": "png", "label": int(forged),
                "label_name": "forged" if forged else "authentic", "split": split, "frame": 0, "time_ms": 0.0,
                "track": -1, "box": None, "box_score": None, "width": SIDE, "height": SIDE,
                "forged_fraction": 0.0 if mask is None else float(mask.mean()), "offset": offset, "size": size,
                "mask_offset": mask_offset, "mask_size": mask_size,
            }
        )  # fmt: skip
    for row, placed in zip(rows, assemble(fragments, shards), strict=True):
        row["shard"] = placed.shard_name
        for key in ("offset", "mask_offset"):
            row[key] = None if row[key] is None else row[key] + placed.base_offset
    spec = PreprocessingSpec()
    table = pa.Table.from_pylist(rows, schema=schema_for(spec, str(shards)))
    pq.write_table(table, index / INDEX_FILE)
    (index / SPEC_FILE).write_text(spec.to_document())
    (index / REJECTED_FILE).write_text("")
    return index


@pytest.fixture
def tiny_recipe() -> dict[str, Any]:
    """A training recipe as a dictionary, the test's own to change: two epochs of three steps of four samples."""
    return {
        "member": "tiny",
        "family": "forgery",
        "model": {
            "encoder": "tu-test_efficientnet",
            "weights": "random",
            "gate": "logit",
            "pyramid_channels": 32,
            "segmentation_channels": 32,
        },
        "input": {"size": 64, "overlap": 16},
        "policy": "native",
        "batch_size": 4,
        "epochs": 2,
        "optimizer": {"lr": 0.003},
        "workers": 0,
        "device": "cpu",
        "seed": 1,
    }
