import pytest

from core.errors import SettingsError
from core.settings import parse, validate
from media.forging import ForgeRequest, ForgeSettings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", [2.0, 0.5]),
        ("area", [0.0, 0.3]),
        ("area", [0.1, 0.9]),
        ("rotation", -1),
        ("flip_probability", 1.5),
        ("attempts", 0),
    ],
)
def test_a_wrong_value_is_named(key, value):
    with pytest.raises(SettingsError, match=key):
        validate(ForgeSettings, {key: value}, "recipe")


def test_nested_keys_are_named_in_full():
    with pytest.raises(SettingsError, match=r"settings\.finish\.quality"):
        parse(ForgeRequest, "settings: {finish: {quality: [90, 20]}}", "recipe")


def test_at_least_one_kind_is_needed():
    with pytest.raises(SettingsError, match="positive weight"):
        validate(ForgeSettings, {"copy_move": 0, "splice": 0, "removal": 0}, "recipe")


def test_the_largest_side_cannot_be_below_the_smallest():
    with pytest.raises(SettingsError, match="max_side"):
        validate(ForgeSettings, {"max_side": 64}, "recipe")
