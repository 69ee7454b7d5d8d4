"""The pixels that networks which mark regions are calibrated on.

Pixels are drawn at random from the forged and from the authentic part of each picture and weighted by the inverse of
the chance of being drawn, so that the weighted mean over the sample is an unbiased estimate of the mean over all pixels
of each picture, every picture counting the same.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError
from judging.calibration import CalibrationSample, fold_of
from judging.guard import require_val

Floats = NDArray[np.float64]


class PixelSampler:
    """Draws the sample picture by picture; memory is 8 bytes a pixel and member.

    Args:
        pixels_per_picture: how many are drawn from one picture, half of them forged where there are as many.
        seed: the draw of a picture depends on it and on the picture's id alone.
    """

    def __init__(self, pixels_per_picture: int, seed: int) -> None:
        self._count = pixels_per_picture
        self._seed = seed
        self._logits: dict[str, list[Floats]] = {}
        self._forged: list[NDArray[np.bool_]] = []
        self._weights: list[Floats] = []
        self._folds: list[NDArray[np.int8]] = []

    def add(self, row: Mapping[str, Any], mask: NDArray[np.bool_], logits: Mapping[str, NDArray[np.float32]]) -> None:
        """Draw from one picture.

        Args:
            row: of the sample index.
            mask: ground truth [H, W].
            logits: by member float32 [H, W], before any temperature.

        Raises:
            SplitLeakError: when the row is not of the val split.
        """
        require_val([row["split"]], "calibration")
        key = hashlib.sha256(f"{self._seed}\n{row['sample_id']}".encode()).digest()
        places, weight = draw_pixels(mask, self._count, np.random.default_rng(int.from_bytes(key[:8], "big")))
        for name, logit in logits.items():
            self._logits.setdefault(name, []).append(logit.ravel()[places].astype(np.float64))
        self._forged.append(mask.ravel()[places])
        self._weights.append(weight)
        self._folds.append(np.full(len(places), fold_of(str(row["group_id"])), dtype=np.int8))

    def build(self) -> CalibrationSample:
        """Return what was drawn; the weights of one picture sum to 1.

        Raises:
            BadInputError: ``empty-class`` when there is no forged or no authentic pixel to learn from.
        """
        forged = np.concatenate(self._forged) if self._forged else np.zeros(0, dtype=np.bool_)
        if forged.all() or not forged.any():
            lacking = "authentic" if len(forged) and forged.all() else "forged"
            raise BadInputError(
                "empty-class", f"the val split has no {lacking} pixels, so nothing can be calibrated; extract with more"
            )
        logit = {name: np.concatenate(parts) for name, parts in self._logits.items()}
        return CalibrationSample(logit, forged, np.concatenate(self._weights), np.concatenate(self._folds))


def draw_pixels(
    mask: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Draw pixels from both classes of a mask without replacement.

    Args:
        mask: bool [H, W].
        count: how many; half from each class, and what one class lacks from the other.
        generator: source of chance.

    Returns:
        Flat positions int64 [n], n = min(count, H·W), and weights float64 [n] that sum to 1: each class weighs its
        share of the picture's pixels.
    """
    flat = mask.ravel()
    forged, authentic = np.flatnonzero(flat), np.flatnonzero(~flat)
    from_forged = min(len(forged), max(count // 2, count - len(authentic)))
    parts = [(forged, from_forged), (authentic, min(len(authentic), count - from_forged))]
    places = [members[generator.choice(len(members), n, replace=False)] for members, n in parts if n]
    weights = [np.full(n, len(members) / flat.size / n) for members, n in parts if n]
    return np.concatenate(places).astype(np.int64), np.concatenate(weights)
