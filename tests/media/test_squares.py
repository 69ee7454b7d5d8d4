import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from media.squares import Square

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 17, 3)).astype(np.uint8)


@given(st.integers(-20, 30), st.integers(-20, 30), st.integers(1, 24))
def test_a_square_inside_or_outside_repeats_the_edge_and_is_a_copy(left: int, top: int, side: int) -> None:
    taken = Square(left, top, side).take(PICTURE)
    rows = np.clip(np.arange(top, top + side), 0, PICTURE.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, PICTURE.shape[1] - 1)
    assert np.array_equal(taken, PICTURE[np.ix_(rows, columns)])
    assert taken.flags.c_contiguous
    assert not np.shares_memory(taken, PICTURE)
