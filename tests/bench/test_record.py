import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bench.__main__ import NAMES, main
from bench.record import Ratio, Verdict


def ratio(*rounds: float, goal: float | None = 1.0, at_most: bool = False) -> Ratio:
    return Ratio("reading", 5.0, "s", "a peer", rounds, goal, at_most)


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (ratio(0.9, 1.1, 1.2), "met"),
        (ratio(0.8, 0.95, 1.1), "within spread"),  # quartiles 0.875 and 1.025
        (ratio(0.8, 0.81, 0.82), "missed"),
        (ratio(0.99), "missed"),
        (ratio(1.1, 1.2, 1.3, at_most=True), "missed"),
        (ratio(0.9, 0.91, at_most=True), "met"),
        (ratio(0.1, goal=None), ""),
    ],
)
def test_a_goal_is_missed_by_more_than_the_spread_of_the_rounds(one: Ratio, verdict: Verdict) -> None:
    assert one.verdict == verdict


def test_a_line_names_ratio_spread_and_goal() -> None:
    assert ratio(0.8, 0.81, 0.82).line() == "reading: 5 s; 0.810 ± 0.005 × a peer; goal ≥ 1: missed"
    assert ratio(1.0, goal=None).line().endswith("no goal")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[Ratio]], None]:
    """Put a benchmark in the place of one of ``NAMES``."""

    def put(name: str, items: list[Ratio]) -> None:
        module = ModuleType(f"bench.{name}")
        module.measure = lambda: items  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def test_missed_goals_are_listed_and_fail(
    install: Callable[[str, list[Ratio]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = NAMES[:2]
    install(first, [ratio(1.2)])
    install(second, [ratio(0.5), ratio(0.7, 1.1)])
    output = tmp_path / "bench.json"
    assert main([first, "--output", str(output)]) == 0
    assert "goals missed" not in capsys.readouterr().out
    assert main([first, second, "--output", str(output)]) == 1
    listed = capsys.readouterr().out.partition("goals missed:")[2].split("\n")
    assert [line.split("; ")[1][:5] for line in listed if line] == ["0.500"]
    found = [item["verdict"] for item in json.loads(output.read_text())]
    assert found == ["met", "missed", "within spread"]


def test_an_unknown_benchmark_is_refused_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["readin"])
    assert "reading" in capsys.readouterr().err
