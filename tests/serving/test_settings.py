import pytest

from core.errors import SettingsError
from serving.settings import PREFIX, ServerSettings, read_settings


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {f"{PREFIX}BUNDLE": "from-environment", f"{PREFIX}PORT": "9000", f"{PREFIX}MAX_BATCH": "3"}
    settings = read_settings(["--bundle", "from-arguments", "--max-batch", "5"], environment)
    assert (settings.bundle, settings.port, settings.max_batch) == ("from-arguments", 9000, 5)


def test_an_empty_variable_is_as_good_as_none() -> None:
    settings = read_settings(["--bundle", "b"], {f"{PREFIX}THREADS": "", f"{PREFIX}PORT": ""})
    assert settings == ServerSettings(bundle="b")


def test_without_a_bundle_the_error_says_how_to_give_one() -> None:
    with pytest.raises(SettingsError, match=rf"(?s){PREFIX}.*bundle: Field required"):
        read_settings([], {})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("port", "99999"),
        ("port", "http"),
        ("runtime", "tensorflow"),
        ("device", "tpu"),
        ("queue", "0"),
        ("timeout", "-1"),
        ("timeout", "nan"),
        ("max-pixels", "1e12"),
    ],
)
def test_a_wrong_value_is_named(option: str, value: str) -> None:
    with pytest.raises(SettingsError, match=option.replace("-", "_")):
        read_settings(["--bundle", "b", f"--{option}", value], {})


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in ServerSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert field.description and field.description[:30] in shown
