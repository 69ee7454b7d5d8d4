"""Judging two unseen pictures with the bundle that was published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.judging.overlays import heat_overlay, side_by_side, truth_overlay
from media.bundle import VerifiedBundle, judge_picture, open_runtime
from media.datasets import load_sample
from media.errors import BadInputError
from media.index import read_index
from media.shards import ShardReader

SIDE = 480  # longest side of a picture in the report, px


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


def judge_unseen(dataset: Path, bundle: VerifiedBundle) -> dict[str, UnseenVerdict]:
    """Judge the first forged and the first authentic picture of the test split, in the index's order.

    Raises:
        BadInputError: when the test split lacks one of them.
    """
    index = read_index(dataset).where(split="test")
    reader = ShardReader(index.shards)
    run = open_runtime(bundle, "onnx")
    verdicts = {}
    for label, name in enumerate(("authentic", "forged")):
        rows = index.where(label=label).rows()
        if not rows:
            raise BadInputError("empty-split", f"{dataset} has no {name} picture in its test split")
        rgb, truth = load_sample(rows[0], reader)
        judged = judge_picture(rgb, bundle.document, run)
        found = judged.verdict.mask
        union = np.count_nonzero(truth | found)
        shown = heat_overlay(rgb, judged.probability, judged.point, max_side=SIDE)
        verdicts[name] = UnseenVerdict(
            media_id=rows[0]["media_id"],
            score=float(judged.verdict.score),
            verdict="forged" if judged.verdict.forged else "authentic",
            iou=np.count_nonzero(truth & found) / union if union else 1.0,
            overlay=side_by_side([truth_overlay(rgb, truth, max_side=SIDE), shown]),
        )
    return verdicts
