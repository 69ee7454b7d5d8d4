import pytest

from core.errors import SettingsError
from data.official_splits import OfficialSplits


@pytest.mark.parametrize(
    "text",
    [
        "name,split\na.png,train\nb.png,validation\nc,TEST\n",
        "split, name\ntrain, a.png\nval, b.png\n\ntest, c\n",
        '\ufeff{"a.png": "train", "b.png": "val", "c": "test"}',
        '{"training": ["a.png"], "valid": ["b.png"], "testing": ["c"]}',
    ],
)
def test_csv_and_json_in_either_form_are_read(text: str) -> None:
    splits = OfficialSplits(text.encode(), "official")
    assert [splits.of(name) for name in ("a.png", "b.png", "c", "d")] == [0, 1, 2, -1]


def test_the_most_specific_name_counts() -> None:
    splits = OfficialSplits(b"name,split\nset/forged/1.png,test\n1,train\n", "official")
    assert splits.of("set/forged/1.png", "forged/1.png", "1.png", "1") == 2
    assert splits.of("set/forged/2.png", "forged/2.png", "2.png", "1") == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "first line must name"),
        (b"a.png,train\n", "first line must name"),
        (b"name,split\n", "names no sample"),
        (b"{}", "names no sample"),
        (b"name,split\na.png,exam\n", "'a.png' has the split 'exam'; allowed: train"),
        (b"name,split\na.png\n", "'a.png' has the split None"),
        (b'{"a.png": 3}', "has the split 3"),
        (b'{"train": [3]}', "3 has the split 'train'"),
        (b"{not json", "neither CSV nor JSON"),
        (b"name,split\n\xff\xfe,train\n", "neither CSV nor JSON"),
    ],
)
def test_files_that_cannot_be_understood_are_refused(text: bytes, problem: str) -> None:
    with pytest.raises(SettingsError, match=f"split file official.*{problem}"):
        OfficialSplits(text, "official")


def test_a_name_in_two_splits_is_refused() -> None:
    splits = OfficialSplits(b"name,split\na,train\na,test\n", "official")
    with pytest.raises(SettingsError, match="'a' is in several splits: test, train"):
        splits.of("a")
