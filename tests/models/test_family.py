import subprocess
import sys
from typing import Any

import pytest

from core.errors import SettingsError
from core.lazy import Lazy
from core.settings import Settings, validate
from media.spec import InputSpec
from models.family import FAMILIES, Family
from models.network import Network


@pytest.mark.parametrize("name", FAMILIES.names())
def test_every_sub_package_is_a_family_of_its_name(name: str) -> None:
    family = FAMILIES.get(name)
    assert isinstance(family, Family)
    assert family.name == name
    assert family.settings() == validate(family.settings, {}, "defaults")
    assert isinstance(family.network, Lazy)
    assert issubclass(family.network.resolve(), Network)


@pytest.mark.parametrize("name", FAMILIES.names())
def test_every_setting_is_described_at_its_field(name: str) -> None:
    family = FAMILIES.get(name)
    for settings in (family.settings, family.loss_settings):
        assert issubclass(settings, Settings)
        assert [key for key, field in settings.model_fields.items() if not field.description] == []


def test_an_unknown_family_is_answered_with_the_closest() -> None:
    with pytest.raises(SettingsError, match=r"unknown model family 'forgry'\. Did you mean 'forgery'\?"):
        FAMILIES.get("forgry")


def test_a_name_cannot_reach_outside_the_package() -> None:
    with pytest.raises(SettingsError):
        FAMILIES.get("..core.errors")


def test_looking_families_up_and_reading_their_settings_does_not_load_torch() -> None:
    code = (
        "import sys; from models.family import FAMILIES; [FAMILIES.get(n).settings() for n in FAMILIES.names()];"
        "from models.spotter import load_spotter; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("forgery", {"views": {"face": {}}}, r"input\.views = face: family forgery reads tiles"),
        ("spotter", {"views": {"tiles": {}}}, r"input\.views = tiles: family spotter reads face or centre"),
        ("spotter", {"views": {"face": {}, "centre": {}}}, r"input\.views = centre, face: .* reads one view"),
    ],
)
def test_an_input_that_a_family_does_not_read_is_refused(name: str, given: dict[str, Any], message: str) -> None:
    family = FAMILIES.get(name)
    with pytest.raises(SettingsError, match=message):
        family.require_input(family.settings(), InputSpec.model_validate(given))


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
        validate(FAMILIES.get("forgery").settings, settings, "recipe")
    assert message in str(raised.value)
