"""Running the pipeline in a process of its own, with its log in a file, and timing its tasks."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import VeriframeError

# What KFP's local runner logs; the task's name may be wrapped in colour codes.
STARTED = re.compile(r"Executing task \S*?'([a-z0-9-]+)'")
RESULT = "executor_output.json"
LOG_TAIL = 25
TRAINING = re.compile(r"train(?:-(\d+))?")  # KFP numbers the tasks of one component


class DemoFailedError(VeriframeError):
    """The pipeline of the demonstration stopped."""


def run_logged(command: Sequence[str], log: Path) -> None:
    """Run a command, write all it says to ``log``, and print the name of each task as it starts.

    Raises:
        DemoFailedError: with the end of the log, when the command fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout or ():
            file.write(line)
            file.flush()
            if task := STARTED.search(line):
                sys.stdout.write(f"  {time.monotonic() - started:5.0f} s  {task.group(1)}\n")
                sys.stdout.flush()
    if process.wait() != 0:
        tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-LOG_TAIL:])
        raise DemoFailedError(f"the pipeline stopped with status {process.returncode}; the end of {log}:\n{tail}")


def task_folders(artifacts: Path) -> list[Path]:
    """Return the folder of every task of a run, in the order in which they finished."""
    return [path.parent for path in sorted(artifacts.rglob(RESULT), key=lambda path: path.stat().st_mtime_ns)]


def task_seconds(artifacts: Path, started: float) -> dict[str, float]:
    """Return the seconds of each task, by its path in the run.

    Args:
        artifacts: the run's folder.
        started: when the run began, seconds since the epoch. Tasks run one after another, so each took from the end
            of the one before it to its own end.
    """
    seconds = {}
    for folder in task_folders(artifacts):
        ended = (folder / RESULT).stat().st_mtime
        seconds[folder.relative_to(artifacts).as_posix()] = round(ended - started, 2)
        started = ended
    return seconds


def task_title(task: str, members: Sequence[str], stages: Sequence[str]) -> str:
    """Return what a person calls a task, such as ``train v4 (high_recall)`` for ``for-loop-1-iteration-1/train-2``.

    Args:
        task: its path in the run.
        members: of the recipe, in order.
        stages: of the recipe, in order.
    """
    loop, _, name = task.rpartition("/")
    if training := TRAINING.fullmatch(name):
        name = f"train {stages[int(training.group(1) or 1) - 1]}"
    return f"{name} ({members[int(loop.rpartition('-')[2])]})" if loop else name
