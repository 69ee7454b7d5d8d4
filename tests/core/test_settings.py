"""What an error says of a wrong key, wherever it stands."""

import pytest

from core.errors import SettingsError
from core.settings import Settings, validate


class Inner(Settings):
    depth: int = 0


class Part(Settings):
    inner: Inner | None = None
    parts: int = 0


class Outer(Settings):
    part: Part = Part()
    parts: dict[str, Part] = {}
    rows: tuple[Inner, ...] = ()
    either: Inner | Part = Part()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prt": 1}, r"prt = 1: unknown key; allowed: either, part, parts, rows"),
        ({"part": {"iner": 1}}, r"part\.iner = 1: unknown key; allowed: inner, parts"),
        ({"part": {"inner": {"dept": 1}}}, r"part\.inner\.dept = 1: unknown key; allowed: depth"),
        ({"parts": {"a": {"iner": 1}}}, r"parts\.a\.iner = 1: unknown key; allowed: inner, parts"),
        # A name that somebody chose may be that of a key.
        ({"parts": {"inner": {"iner": 1}}}, r"parts\.inner\.iner = 1: unknown key; allowed: inner, parts"),
        ({"rows": [{}, {"dept": 1}]}, r"rows\.1\.dept = 1: unknown key; allowed: depth"),
        ({"either": {"dept": 1}}, r"either\.Inner\.dept = 1: unknown key"),
    ],
)
def test_an_unknown_key_is_named_with_those_allowed_in_its_place(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validate(Outer, given, "given")
