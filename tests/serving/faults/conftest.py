"""What tests of faults look at a server with: its metrics, its memory, and a socket that says anything."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httptools
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from torch import Tensor, nn

from bench.bundles import write_bundle
from bench.load import post_picture
from media.spec import InputSpec
from media.views.tiles import TilesView
from models.network import Network, only
from serving.process import ServerProcess

WARM_UP, ROUNDS, GROWTH = 2, 4, 16 * 2**20
WIDTH, DEPTH = 96, 4  # of the slow network: some thirty tiles a second on one core


class Slow(Network):
    """Wide convolutions one after the other, with random weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        middle = (layer for _ in range(DEPTH) for layer in (nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()))
        ends = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 1, 3, padding=1)
        self.layers = nn.Sequential(ends[0], *middle, ends[1])

    def forward(self, views: Mapping[str, Tensor]) -> Tensor:
        """Return logits [B, 1, S, S]."""
        logits: Tensor = self.layers(only(views))
        return logits


@dataclass
class Reply:
    """An answer as it came over the wire; ``status`` is 0 where the connection ended without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def reason(self) -> str:
        """The code of an error document; checks that it is one."""
        document = json.loads(self.body)
        assert set(document) == {"error", "reason"}, document
        assert all(isinstance(value, str) and value for value in document.values()), document
        return str(document["reason"])


class Wire:
    """A connection on which bytes are sent as they are."""

    def __init__(self, url: str, patience: float = 20.0) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=patience)
        self._replies: list[Reply] = []
        self._whole = 0
        self._parser = httptools.HttpResponseParser(self)

    def send(self, *pieces: bytes, pause: float = 0.0) -> bool:
        """Send, with a pause between the pieces; False when the server has closed the connection."""
        try:
            for number, piece in enumerate(pieces):
                time.sleep(pause if number else 0)
                self.socket.sendall(piece)
        except OSError:  # reset by the server, or closed by the test
            return False
        return True

    def replies(self, count: int = 1) -> list[Reply]:
        """Read until so many answers have come or the connection has ended; interim answers (1xx) count too."""
        while self._whole < count:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                break
            if not data:
                break
            self._parser.feed_data(data)
        found, self._replies = self._replies[: self._whole], self._replies[self._whole :]
        self._whole = 0
        return found

    def rest(self) -> int:
        """Wait until the server closes the connection, and return how many bytes came before that."""
        count = 0
        try:
            while data := self.socket.recv(65536):
                count += len(data)
        except ConnectionError:
            pass
        return count

    def on_message_begin(self) -> None:
        self._replies.append(Reply())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._replies[-1].headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._replies[-1].body += data

    def on_message_complete(self) -> None:
        self._replies[-1].status = self._parser.get_status_code()
        self._whole += 1

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class Probe:
    """Looks at a running server from outside."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.url = server.url

    def wire(self, patience: float = 20.0) -> Wire:
        """Connect."""
        return Wire(self.url, patience)

    def ask(self, request: bytes, patience: float = 20.0) -> Reply:
        """Send bytes on a connection of their own and return the first answer; status 0 when there was none."""
        with self.wire(patience) as wire:
            wire.send(request)
            return next(iter(wire.replies()), Reply())

    def analyze(self, picture: bytes, query: str = "?mask=false") -> Reply:
        """Send a picture."""
        return self.ask(post_picture(f"{self.url}/v1/analyze{query}", picture))

    def get(self, path: str) -> Reply:
        """Send a GET request."""
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=20) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families for sample in family.samples if sample.name == f"veriframe_{name}"]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Wait until something is so; False when it does not come about."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    @property
    def ready(self) -> int:
        """Status of the readiness route; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/v2/health/ready", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    @property
    def resident(self) -> int:
        """Bytes of memory the process holds now."""
        return self._memory("VmRSS")

    @property
    def peak(self) -> int:
        """Most bytes of memory the process has held."""
        return self._memory("VmHWM")

    @property
    def descriptors(self) -> int:
        """Open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self.server.pid}/fd").iterdir())

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024


@pytest.fixture(scope="session")
def look() -> Callable[[ServerProcess], Probe]:
    """Makes a probe of a server."""
    return Probe


@pytest.fixture(scope="session")
def probe(served: ServerProcess) -> Probe:
    """A probe of the shared server."""
    return Probe(served)


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle, ONNX only, whose one network needs so long that all else hardly counts."""
    specs = {"slow": InputSpec(views={"tiles": TilesView(size=64, overlap=16)})}
    networks = {"slow": Slow().eval()}
    folder = tmp_path_factory.mktemp("slow")
    return write_bundle(folder, "slow", networks, specs, weights=(1.0,), temperatures=(1.0,), formats=["onnx"])


@pytest.fixture
def start() -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers, ready or not: ``start(bundle, queue=4)``; they end with the test."""
    servers: list[ServerProcess] = []

    def begin(bundle: Path | str, environment: dict[str, str] | None = None, **options: str | int | float):
        servers.append(ServerProcess(bundle, environment, **{"threads": 1} | options))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def refusal() -> Callable[[ServerProcess], str]:
    """Watches a server that must not serve until it ends with status 1, and returns its log."""

    def watch(server: ServerProcess) -> str:
        probe, seen = None, set()
        deadline = time.monotonic() + 60
        while server.status is None and time.monotonic() < deadline:
            if probe is None and "running on" in server.log:
                probe = Probe(server)
            seen.add(probe.ready if probe else 0)
            time.sleep(0.01)
        assert server.status == 1, server.log
        assert seen <= {0, 503}
        assert "Traceback" not in server.log
        return server.log

    return watch


@pytest.fixture(scope="session")
def target(tiny_bundle: Path) -> Iterator[Probe]:
    """A probe of the server that all malformed requests go to; bodies have two seconds to arrive."""
    with ServerProcess(tiny_bundle, threads=1, body_timeout=2) as server:
        yield Probe(server)


@pytest.fixture(scope="session")
def face_target(face_bundle: Path) -> Iterator[Probe]:
    """A probe of the server that all malformed videos go to, and requests about faces."""
    with ServerProcess(face_bundle, threads=1) as server:
        yield Probe(server)


@pytest.fixture
def unharmed(target: Probe, picture: Callable[..., bytes]) -> Iterator[None]:
    """Checks after the test that the server lives, holds nothing of what was sent, and judges as before."""
    data, descriptors = picture(), target.descriptors
    yield
    assert target.server.status is None, target.server.log
    assert target.analyze(data).status == 200
    assert target.until(lambda: target.metric("in_flight") == target.metric("queue_depth") == 0)
    assert target.until(lambda: target.descriptors <= descriptors)
    assert "Traceback" not in target.server.log


@pytest.fixture
def no_growth(target: Probe) -> Callable[[Callable[[], None]], None]:
    """Checks that doing something over and over takes no more memory than doing it a few times."""

    def check(act: Callable[[], None]) -> None:
        for _ in range(WARM_UP):
            act()
        before = target.resident
        for _ in range(ROUNDS):
            act()
        assert target.resident - before < GROWTH

    return check
