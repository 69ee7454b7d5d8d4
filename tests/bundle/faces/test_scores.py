"""From the scores of frames and clips to the score of a medium."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.faces.scores import medium_probability, probability, track_probability, weighted


@given(st.floats(-1e6, 1e6), st.floats(0.05, 20))
def test_a_probability_lies_on_the_side_of_its_logit(logit: float, temperature: float) -> None:
    value = float(probability(np.array([logit]), temperature)[0])
    assert 0 <= value <= 1
    assert (value - 0.5) * logit >= 0


def test_a_higher_temperature_is_less_sure() -> None:
    assert probability(np.array(2.0), 4.0) < probability(np.array(2.0), 1.0)


def test_a_track_is_judged_by_its_clips_where_there_are_any() -> None:
    frames = np.array([0.1, 0.3])
    assert track_probability(frames, None) == pytest.approx(0.2)
    assert track_probability(frames, np.array([0.9])) == pytest.approx(0.9)


def test_members_are_weighed_by_their_share() -> None:
    values = {"a": np.array([0.0, 1.0]), "b": np.array([1.0, 1.0])}
    assert weighted(values, {"a": 3.0, "b": 1.0, "absent": 5.0}) == pytest.approx([0.25, 1.0])


def test_members_that_weigh_nothing_count_alike_where_there_are_no_others() -> None:
    values = {"a": 0.2, "b": 0.6}
    assert weighted(values, {"a": 0.0, "b": 0.0, "absent": 1.0}) == pytest.approx(0.4)
    assert weighted(values, {"a": 0.0, "b": 0.5}) == pytest.approx(0.6)


def test_one_forged_face_makes_a_forged_medium_and_none_makes_no_score() -> None:
    assert medium_probability([0.1, 0.9, 0.2]) == 0.9
    with pytest.raises(ValueError, match="empty"):
        medium_probability([])
