"""The server as a child process: how the demonstration, the tests and the benchmarks run it."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

from core.errors import VeriframeError

_ADDRESS = re.compile(rb"running on (http://\S+)")
POLL_SECONDS = 0.02


class ServerFailedError(VeriframeError):
    """The server ended or did not become ready."""


class ServerProcess:
    """``python -m serving`` on a free port of the loopback interface; a context manager that waits until it is ready.

    Args:
        bundle: folder or URI.
        environment: replaces the variables of this process; None inherits them.
        options: of the server, as in ``ServerSettings``.
    """

    def __init__(
        self, bundle: Path | str, environment: dict[str, str] | None = None, **options: str | int | float
    ) -> None:
        chosen = {"host": "127.0.0.1", "port": 0, "drain_delay": 0} | options | {"bundle": bundle}
        arguments = [part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self._log = TemporaryFile()  # noqa: SIM115  (read while the process writes; closed by stop)
        environment = dict(os.environ) if environment is None else environment
        # The source that runs here, wherever the caller's working folder is.
        environment = {**environment, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "serving", *arguments], stdout=self._log, stderr=self._log, env=environment
        )
        self._url = ""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._read().decode(errors="replace")

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end; waits until it does.

        Raises:
            ServerFailedError: with its words, when it ends before.
        """
        while not self._url:
            if found := _ADDRESS.search(self._read()):
                self._url = found.group(1).decode()
            elif self._process.poll() is not None:
                raise ServerFailedError(f"the server ended with status {self._process.returncode}: {self.log}")
            else:
                time.sleep(POLL_SECONDS)
        return self._url

    @property
    def ready(self) -> bool:
        """Whether it says so."""
        try:
            with urllib.request.urlopen(f"{self.url}/v2/health/ready", timeout=5):  # noqa: S310  (our own address)
                return True
        except (urllib.error.URLError, OSError):
            return False

    def wait_until_ready(self, seconds: float = 120.0) -> None:
        """Wait.

        Raises:
            ServerFailedError: with its words, when it ends before or takes longer than ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while not self.ready:
            if self._process.poll() is not None:
                raise ServerFailedError(f"the server ended with status {self._process.returncode}: {self.log}")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"the server was not ready after {seconds:g} s: {self.log}")
            time.sleep(POLL_SECONDS)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float = 120.0) -> int:
        """Return the exit status, negative for a signal."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """End it, forcibly where it does not drain in time, and return its exit status."""
        if self._process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self._process.kill()
        status = self.wait()
        self._log.close()
        return status

    def __enter__(self) -> "ServerProcess":
        try:
            self.wait_until_ready()
        except ServerFailedError:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self) -> bytes:
        # pread would leave the position alone that the child shares with this process.
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)
