"""A real Prometheus on the loopback interface that scrapes one server, for tests and benchmarks.

The programs ``prometheus`` and ``promtool`` are those of Debian's package ``prometheus``.
"""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import processes

PACKAGE = "prometheus"  # Debian's
INTERVAL_SECONDS = 1
START_SECONDS = 60.0


@dataclass(frozen=True)
class Series:
    """One result of a query: its labels, without the metric's name and what Prometheus adds, and its samples.

    ``samples`` are pairs of Unix time in seconds and value, oldest first; exactly one but for range selectors.
    """

    labels: dict[str, str]
    samples: list[tuple[float, float]]

    @property
    def value(self) -> float:
        """The newest value."""
        return self.samples[-1][1]


class Prometheus:
    """A running Prometheus; see ``scraping``."""

    def __init__(self, url: str) -> None:
        """Speak to the Prometheus at ``url``."""
        self.url = url

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """Evaluate a PromQL expression.

        Args:
            expression: such as ``sum by (code) (veriframe_requests_total)``.
            at: Unix time in seconds; None is now.

        Raises:
            RuntimeError: with Prometheus' message, when it refuses the expression.
        """
        parameters = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        found = []
        for one in self._ask("/api/v1/query", parameters)["result"]:
            samples = one.get("values") or [one["value"]]
            hidden = {"__name__", "instance", "job"}
            labels = {name: value for name, value in one["metric"].items() if name not in hidden}
            found.append(Series(labels, [(float(moment), float(value)) for moment, value in samples]))
        return found

    def names(self) -> set[str]:
        """The names of all metrics that were ever scraped."""
        return set(self._ask("/api/v1/label/__name__/values", {}))

    def wait_for_scrape(self, seconds: float = 30.0) -> float:
        """Wait until a scrape that began after this call is stored; return its Unix time in seconds.

        Raises:
            RuntimeError: with the target's last error, when there is none in time.
        """
        called = time.time()
        deadline = time.monotonic() + seconds
        while True:
            scrapes = [sample for series in self.query("up[10s]") for sample in series.samples]
            if scrapes and scrapes[-1][0] > called and scrapes[-1][1] == 1:
                return scrapes[-1][0]
            if time.monotonic() > deadline:
                targets = self._ask("/api/v1/targets", {"state": "active"})["activeTargets"]
                problem = targets[0]["lastError"] if targets else "no target"
                raise RuntimeError(f"Prometheus did not scrape its target within {seconds:.0f} s: {problem}")
            time.sleep(0.05)

    def _ask(self, path: str, parameters: dict[str, str]) -> Any:
        address = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  (an http:// address of ours)
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Prometheus refused {path}: {error.read().decode(errors='replace')}") from None


def installed() -> bool:
    """Tell whether ``prometheus`` and ``promtool`` are on the PATH."""
    return all(shutil.which(name) for name in ("prometheus", "promtool"))


@contextmanager
def scraping(target: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ``/metrics`` every second, with its data in a temporary folder.

    Args:
        target: base URL of the server, such as ``http://127.0.0.1:8080``.

    Yields:
        Prometheus, which has scraped the target once.

    Raises:
        RuntimeError: when it is not installed, or does not come up; then with the end of its log.
    """
    if not installed():
        raise RuntimeError(f"prometheus and promtool are not installed: apt-get install {PACKAGE}")
    with TemporaryDirectory(prefix="prometheus-") as name:
        folder = Path(name)
        parts = urllib.parse.urlsplit(target)
        config = {
            "global": {"scrape_interval": f"{INTERVAL_SECONDS}s", "scrape_timeout": f"{INTERVAL_SECONDS}s"},
            "scrape_configs": [
                {
                    "job_name": "veriframe",
                    "scheme": parts.scheme,
                    "metrics_path": f"{parts.path.rstrip('/')}/metrics",
                    "static_configs": [{"targets": [parts.netloc]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        (port,) = processes.free_ports(1)
        command = [
            "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        process = processes.start(command, folder / "log")
        try:
            prometheus = Prometheus(f"http://127.0.0.1:{port}")
            _wait_until_ready(prometheus, process, folder / "log")
            prometheus.wait_for_scrape()
            yield prometheus
        finally:
            processes.kill(process)


def _wait_until_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError):
            urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=2).close()  # noqa: S310  (ours)
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Prometheus did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
