"""The threshold above which authentic train pictures are hard negatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.regions.verdict import OperatingPoint
from core.errors import SettingsError
from core.settings import validate
from tasks.regions.mining import LOWEST, choose_mining
from tasks.regions.settings import RegionsSweep

POINT = OperatingPoint(threshold=0.9, min_area_fraction=0.01)
SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40)


@given(scores=SCORES, asked=st.one_of(st.integers(1, 50).map(float), st.floats(0.01, 0.99)))
def test_the_highest_threshold_of_the_grid_that_finds_what_is_wanted(scores: list[float], asked: float) -> None:
    mining = choose_mining(np.array(scores), RegionsSweep(mining_count=asked), POINT)
    threshold = mining.point.threshold
    number = int(asked) if asked >= 1 else int(np.ceil(asked * len(scores)))
    assert mining.count == number
    assert (threshold * 1024).is_integer() and LOWEST <= threshold <= 1
    found = [score for score in scores if score >= threshold]
    assert len(found) == mining.reached
    if mining.reached < number:
        assert threshold == LOWEST
        assert f"{mining.reached:,} of the {number:,} wanted" in mining.note
    elif threshold < 1:
        assert sum(score >= threshold + LOWEST for score in scores) < number


def test_a_threshold_that_is_given_is_the_lowest_that_may_be_chosen() -> None:
    scores = np.array([0.9, 0.6, 0.4, 0.1])
    settings = RegionsSweep(mining_count=3, mining_threshold=0.5, mining_min_area_fraction=0.0)
    mining = choose_mining(scores, settings, POINT)
    assert (mining.point, mining.reached) == (OperatingPoint(threshold=0.5, min_area_fraction=0.0), 2)
    assert "2 of the 3 wanted" in mining.note
    assert choose_mining(scores, settings.model_copy(update={"mining_count": 1}), POINT).point.threshold == 921 / 1024


@pytest.mark.parametrize("wrong", [0, -1, 2.5])
def test_what_cannot_be_wanted_is_refused(wrong: float) -> None:
    with pytest.raises(SettingsError, match="mining_count"):
        validate(RegionsSweep, {"mining_count": wrong}, "sweep")
