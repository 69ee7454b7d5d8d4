"""Two pictures that nothing was trained on, and the published bundle's verdict on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle import VerifiedBundle, open_networks
from bundle.regions.analysis import analyze_picture
from core.errors import BadInputError
from data.index import read_index
from data.shards import ShardReader
from data.stored import load_sample, picture_span
from judging.overlays import heat_overlay, side_by_side, truth_overlay

SIDE = 480  # longest side of a picture in the report, px


@dataclass(frozen=True)
class UnseenPicture:
    """A picture of the test split: its stored file, its pixels uint8 [H, W, 3], and its true mask bool [H, W]."""

    media_id: str
    data: bytes
    rgb: NDArray[np.uint8]
    truth: NDArray[np.bool_]


@dataclass(frozen=True)
class UnseenVerdict:
    """A verdict on a picture that nothing was trained or chosen on.

    Attributes:
        media_id: which picture.
        score: 0..1.
        verdict: ``forged`` or ``authentic``.
        iou: of the marked with the truly forged pixels; 1 where both are empty.
        overlay: the picture with the truth, beside it with what was found, RGB.
    """

    media_id: str
    score: float
    verdict: str
    iou: float
    overlay: NDArray[np.uint8]

    def to_document(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {"score": round(self.score, 6), "verdict": self.verdict, "iou": round(self.iou, 6)}


def unseen_pictures(dataset: Path) -> dict[str, UnseenPicture]:
    """Return the first authentic and the first forged picture of the test split, in the index's order, by their truth.

    Raises:
        BadInputError: when the test split lacks one of them.
    """
    index = read_index(dataset).where(split="test")
    reader = ShardReader(index.shards)
    pictures = {}
    for label, name in enumerate(("authentic", "forged")):
        rows = index.where(label=label).table.slice(0, 1).to_pylist()
        if not rows:
            raise BadInputError("empty-split", f"{dataset} has no {name} picture in its test split")
        row = rows[0]
        data = reader.read(row["shard"], picture_span(row))[0]
        sample = load_sample(row, reader)
        # A data set without a mask anywhere stores none.
        truth = np.zeros(sample.rgb.shape[:2], dtype=np.bool_) if sample.mask is None else sample.mask
        pictures[name] = UnseenPicture(row["media_id"], data, sample.rgb, truth)
    return pictures


def intersection_over_union(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Compare two masks bool [H, W]; 1 where both are empty."""
    union = np.count_nonzero(truth | found)
    return np.count_nonzero(truth & found) / union if union else 1.0


def analyze_unseen(pictures: Mapping[str, UnseenPicture], bundle: VerifiedBundle) -> dict[str, UnseenVerdict]:
    """Analyze the pictures with the bundle in this process."""
    networks = open_networks(bundle, "onnx")
    verdicts = {}
    for name, picture in pictures.items():
        found = analyze_picture(picture.rgb, bundle.document, networks)
        shown = heat_overlay(picture.rgb, found.probability, found.verdict.mask, max_side=SIDE)
        verdicts[name] = UnseenVerdict(
            media_id=picture.media_id,
            score=float(found.verdict.score),
            verdict="forged" if found.verdict.forged else "authentic",
            iou=intersection_over_union(picture.truth, found.verdict.mask),
            overlay=side_by_side([truth_overlay(picture.rgb, picture.truth, max_side=SIDE), shown]),
        )
    return verdicts
