import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.probing import spread, threshold_logit


@given(threshold=st.floats(0.001, 0.999), logit=st.floats(-20, 20))
def test_the_cut_in_logits_is_the_threshold_in_probabilities(threshold: float, logit: float) -> None:
    probability = 1 / (1 + math.exp(-logit))
    if abs(probability - threshold) > 1e-9:
        assert (logit >= threshold_logit(threshold)) == (probability >= threshold)


def test_thresholds_at_the_ends_cut_off_everything_or_nothing() -> None:
    assert threshold_logit(0.0) == -math.inf
    assert threshold_logit(1.0) == math.inf


@pytest.mark.parametrize(
    ("length", "count", "numbers"), [(5, 5, [0, 1, 2, 3, 4]), (11, 3, [0, 5, 10]), (1, 3, [0, 0, 0]), (2, 3, [0, 0, 1])]
)
def test_numbers_are_spread_over_the_whole(length: int, count: int, numbers: list[int]) -> None:
    assert spread(length, count) == numbers
