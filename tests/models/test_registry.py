import subprocess
import sys

import pytest

from core.errors import SettingsError
from core.settings import validate
from models.family import Family
from models.registry import family_names, get_family


@pytest.mark.parametrize("name", family_names())
def test_every_sub_package_is_a_family_of_its_name(name: str) -> None:
    family = get_family(name)
    assert isinstance(family, Family)
    assert family.name == name
    assert len(family.class_names) >= 2
    assert family.settings() == validate(family.settings, {}, "defaults")


def test_an_unknown_family_is_answered_with_the_closest() -> None:
    with pytest.raises(SettingsError, match=r"unknown model family 'forgry'\. Did you mean 'forgery'\?"):
        get_family("forgry")


def test_a_name_cannot_reach_outside_the_package() -> None:
    with pytest.raises(SettingsError):
        get_family("..core.errors")


def test_reading_a_familys_settings_does_not_load_torch() -> None:
    code = "import sys, models.registry as r; r.get_family('forgery').settings(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gate": "logits"}, "gate = 'logits'"),
        ({"segmentation_channels": 48}, "segmentation_channels = 48"),
        ({"gate_width": 3}, "gate_width = 3"),
        ({"weights": ""}, "weights = ''"),
        ({"encodr": "x"}, "encodr = 'x': unknown key; allowed: dropout, encoder"),
    ],
)
def test_wrong_settings_name_the_key_and_the_value(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        validate(get_family("forgery").settings, settings, "recipe")
    assert message in str(raised.value)
