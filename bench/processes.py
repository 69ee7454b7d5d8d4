"""Servers as processes on the loopback interface: a free port, a start that no end of ours survives, a kill."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# The server goes with the process that started it, however that ends: then the pipe to the shell is closed.
_WATCH = '"$@" & read -r line; kill -9 $!'


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a server that is killed when this process ends.

    Args:
        command: program and arguments.
        log: file to which its output is appended.
        environment: of the server; None is this process's own.
    """
    with log.open("ab") as stream:
        return subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", *command],
            stdin=subprocess.PIPE, stdout=stream, stderr=stream, env=environment, start_new_session=True,
        )  # fmt: skip


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what ``start`` started, without a warning, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    # Not from the range that the system hands to outgoing connections: one of these could take a port meanwhile.
    candidates = iter(random.sample(range(10_000, 32_000), 1000))
    return [next(port for port in candidates if _is_free(port)) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
