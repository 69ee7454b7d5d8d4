import pytest

from judging.guard import SplitLeakError, require_val


def test_val_rows_pass_and_one_row_of_another_split_does_not() -> None:
    require_val(["val", "val"], "the threshold")
    with pytest.raises(SplitLeakError):
        require_val(["val", "val", "train"], "the threshold")


def test_other_splits_are_refused_and_counted() -> None:
    with pytest.raises(SplitLeakError, match=r"the threshold .* 2 of test, 1 of train"):
        require_val(["val", "test", "train", "test"], "the threshold")
