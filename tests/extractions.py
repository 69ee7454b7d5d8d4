"""Extractions as processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from components.extract_frames.recipe import ExtractRecipe

PATIENCE = 60  # s


def start(
    source: Path | str, output: Path, shards: Path | str, recipe: ExtractRecipe, *arguments: str
) -> "subprocess.Popen[bytes]":
    """Start the step's command line with one worker, in a session of its own."""
    path = output.with_suffix(".yaml")
    path.write_text(recipe.to_json())
    command = [sys.executable, "-m", "components.extract_frames", "--source", source, "--output", output]
    command += ["--shards", shards, "--recipe", path, "--workers", "1", *arguments]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def kill_when(process: "subprocess.Popen[bytes]", happened: Callable[[], bool]) -> None:
    """Kill the process, and its workers with it, as soon as something has happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
