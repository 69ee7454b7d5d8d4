"""Progress on a terminal and elsewhere."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress

import pytest

from core import progress as module
from core.progress import counter, describe, progress


def test_items_pass_through_in_order_and_the_last_line_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([3, 1, 2], unit="picture", label="count")) == [3, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("count: 3/3 picture (100 %), ")


def test_lines_come_at_intervals_and_not_with_every_item(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with counter(100, unit="step", label="train") as count:
        for step in range(100):
            now[0] = step / 4
            count.note(f"loss {step}")
            count.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "train: 41/100 step (41 %), 4.1 step/s, 14 s left, loss 40",
        "train: 81/100 step (81 %), 4.0 step/s, 5 s left, loss 80",
        "train: 100/100 step (100 %), 4.0 step/s, 24.8 s, loss 99",
    ]


def test_an_error_is_not_announced_as_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), counter(10) as count:
        count.update()
        raise ValueError("broken")
    assert capsys.readouterr().err == ""


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with counter(10, quiet=True) as count:
        count.note("x")
        count.update(10)
    assert capsys.readouterr().err == ""


def test_threads_may_count_together(capsys: pytest.CaptureFixture[str]) -> None:
    with counter(4000, unit="it") as count:
        threads = [threading.Thread(target=lambda: [count.update() for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert capsys.readouterr().err.startswith("4000/4000 it")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((120, 500, "picture", 4.0), "120/500 picture (24 %), 30.0 picture/s, 13 s left"),
        ((7, None, "it", 2.0), "7 it, 3.5 it/s, 2.0 s"),
        ((2**20, 2**21, "B", 0.5), "1.0/2.0 MiB (50 %), 2.0 MiB/s, 0 s left"),
        ((0, 0, "it", 0.0), "0/0 it, 0.0 it/s, 0.0 s"),
        ((0, 5, "it", 1.0), "0/5 it (0 %), 0.0 it/s, 1.0 s"),
    ],
)
def test_a_line_says_count_share_rate_and_time(arguments: tuple[int, int | None, str, float], text: str) -> None:
    assert describe(*arguments) == text


def shown_on_a_terminal(columns: int) -> str:
    code = """
from core.progress import counter
with counter(3, unit="picture", label="look") as count:
    count.note("loss 1")
    count.update(3)
"""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = ""
    with suppress(OSError):  # EIO: all has been read, and nobody writes any more
        while True:
            shown += os.read(ours, 10_000).decode()
    os.close(ours)
    return shown


def test_a_terminal_gets_a_bar() -> None:
    shown = shown_on_a_terminal(columns=100)
    assert "look: 100%|" in shown and "3/3" in shown and "loss 1" in shown


def test_a_terminal_without_width_gets_lines() -> None:
    assert shown_on_a_terminal(columns=0).startswith("look: 3/3 picture (100 %), ")
