import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from media.pictures import decode_picture
from pipelines.demo.__main__ import FIGURES, stage_table, summarize
from pipelines.demo.logs import DemoFailedError, run_logged, task_seconds, task_title
from pipelines.demo.photographs import NAMES, copy_photographs


def test_the_photographs_are_all_there_and_readable(tmp_path: Path) -> None:
    paths = copy_photographs(tmp_path / "photographs")
    assert [path.name for path in paths] == list(NAMES)
    assert all(min(decode_picture(path.read_bytes()).shape[:2]) >= 300 for path in paths)


def test_a_logged_command_shows_its_tasks_and_keeps_all_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged = "10:00:00 - INFO - Executing task \\x1b[96m'sweep-hard-negatives'\\x1b[0m"
    run_logged([sys.executable, "-c", f'print("hello"); print("{logged}")'], tmp_path / "run.log")
    assert "sweep-hard-negatives" in capsys.readouterr().out
    assert "hello" in (tmp_path / "run.log").read_text()


def test_a_command_that_fails_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(DemoFailedError, match=r"(?s)status 3.*the last words"):
        run_logged([sys.executable, "-c", 'print("the last words"); raise SystemExit(3)'], tmp_path / "run.log")


def test_tasks_are_timed_from_the_end_of_the_one_before(tmp_path: Path) -> None:
    for name, ended in (("first", 1010.0), ("loop/second", 1012.5)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "executor_output.json").touch()
        os.utime(tmp_path / name / "executor_output.json", (ended, ended))
    assert task_seconds(tmp_path, 1000.0) == {"first": 10.0, "loop/second": 2.5}


def test_tasks_of_the_loop_are_called_by_stage_and_member() -> None:
    members, stages = ["a", "b"], ["v3", "v4"]
    assert task_title("for-loop-1-iteration-1/train-2", members, stages) == "train v4 (b)"
    assert task_title("for-loop-1-iteration-1/train", members, stages) == "train v3 (b)"
    assert task_title("for-loop-1-iteration-0/sweep-hard-negatives", members, stages) == "sweep-hard-negatives (a)"
    assert task_title("export", members, stages) == "export"


def test_the_summary_has_the_figures_of_both_stages_and_of_the_bundle_which_it_was() -> None:
    def group(value: float) -> dict[str, object]:
        return {"ensemble": {"datasets": {"demo": dict.fromkeys(FIGURES, value)}}}

    metrics = {"main_dataset": "demo", "groups": {"v3": group(0.25), "bundle": group(0.75)}}
    bundle = SimpleNamespace(document=SimpleNamespace(version="1"), sha256="0" * 64)
    summary = summarize({"export": 1.0}, metrics, {}, {}, bundle)  # type: ignore[arg-type]
    assert (summary["status"], summary["bundle"]["version"]) == ("ok", "1")
    assert [row[:2] for row in stage_table(summary).rows] == [["v3", 0.25], ["v4", 0.75]]
