"""How often training samples are drawn: what all tasks share."""

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError
from data.index import SampleIndex
from data.labels import is_manipulated
from tasks.settings import SamplingSettings


def row_weights(train: SampleIndex, hard_negatives: frozenset[str], settings: SamplingSettings) -> NDArray[np.float64]:
    """Return the weight of every row of the train split, float64 [rows], not normalised.

    Args:
        train: rows of the train split.
        hard_negatives: sample ids of authentic rows.
        settings: the weights.
    """
    bounds = np.array([bound for bound, _ in settings.bands])
    band_weights = np.array([weight for _, weight in settings.bands], dtype=np.float64)
    band = np.searchsorted(bounds, train.column("forged_fraction"), side="right").clip(max=len(bounds) - 1)
    hard = np.isin(train.column("sample_id").astype(str), sorted(hard_negatives))
    authentic = np.where(hard, settings.hard_negative, settings.authentic)
    return np.where(is_manipulated(train.column("label")), band_weights[band], authentic)


def drawn_weights(
    weights: NDArray[np.float64], manipulated: NDArray[np.bool_], settings: SamplingSettings
) -> NDArray[np.float64]:
    """Return the weights of what is drawn, balanced where the settings ask for it.

    Args:
        weights: of every unit that can be drawn, float64 [units].
        manipulated: which units are, bool [units].
        settings: say whether to balance, and how.

    Raises:
        BadInputError: ``no-samples`` when there is nothing to draw or every weight is zero; ``empty-class`` when
            balancing needs a class of which nothing can be drawn.
    """
    if not weights.sum() > 0:
        raise BadInputError("no-samples", f"nothing to draw from: {len(weights)} train samples, all of weight 0")
    return _balanced(weights, manipulated, settings.authentic_share) if settings.balanced else weights


def _balanced(
    weights: NDArray[np.float64], manipulated: NDArray[np.bool_], authentic_share: float
) -> NDArray[np.float64]:
    """Scale the weights of each class so that they sum to its share of the draws."""
    shares = {"authentic": authentic_share, "manipulated": 1 - authentic_share}
    scaled = np.zeros_like(weights)
    for (name, share), members in zip(shares.items(), (~manipulated, manipulated), strict=True):
        total = weights[members].sum()
        if share > 0 and not total > 0:
            raise BadInputError(
                "empty-class", f"sampling.balanced: nothing {name} can be drawn, but a share of {share:.2f} should be"
            )
        if share > 0:
            scaled[members] = weights[members] * (share / total)
    return scaled
