import numpy as np
import pyarrow as pa
import pytest

from core.errors import BadInputError
from data.index import SampleIndex
from media.extraction import SampleSpec
from tasks.sampling_weights import drawn_weights, row_weights
from tasks.settings import SamplingSettings


def _index(fractions: list[float], labels: list[int]) -> SampleIndex:
    table = pa.table(
        {
            "sample_id": [f"s{number}" for number in range(len(labels))],
            "label": pa.array(labels, pa.int32()),
            "forged_fraction": fractions,
        }
    )
    return SampleIndex(table, SampleSpec(), "shards", "0" * 64)


def test_weights_follow_the_forged_area_and_name_hard_negatives():
    index = _index([0.0, 0.0, 0.0099, 0.01, 0.0499, 0.05, 0.7, 1.0], [0, 0, 1, 1, 1, 2, 1, 3])
    weights = row_weights(index, frozenset({"s1"}), SamplingSettings())
    assert weights.tolist() == [1, 5, 3, 2, 2, 1, 1, 1]  # whatever the class of what is manipulated


def test_balance_gives_half_of_the_draws_to_what_is_authentic():
    weights, manipulated = np.array([1.0, 5.0, 2.0, 2.0]), np.array([False, False, True, True])
    assert drawn_weights(weights, manipulated, SamplingSettings()) is weights
    balanced = drawn_weights(weights, manipulated, SamplingSettings(balanced=True))
    assert balanced == pytest.approx([0.5 / 6, 2.5 / 6, 0.25, 0.25])


def test_balancing_needs_both_classes():
    with pytest.raises(BadInputError, match="nothing manipulated can be drawn"):
        drawn_weights(np.ones(2), np.zeros(2, dtype=bool), SamplingSettings(balanced=True))


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(BadInputError, match="nothing to draw from"):
        drawn_weights(np.zeros(0), np.zeros(0, dtype=bool), SamplingSettings())
    with pytest.raises(BadInputError, match="2 train samples, all of weight 0"):
        drawn_weights(np.zeros(2), np.zeros(2, dtype=bool), SamplingSettings())
