"""The bundle's store is away, slow, wrong or forgetful while the server starts: it serves the whole bundle or none."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.processes import free_ports
from bench.seaweed import SeaweedServer
from bundle import read_bundle
from core.errors import StorageError
from core.files import is_temporary
from core.storage import open_store
from serving.process import ServerProcess
from serving.service import Service

Publish = Callable[[str, Path], None]
Start = Callable[..., ServerProcess]
Look = Callable[[ServerProcess], Any]
Refusal = Callable[[ServerProcess], str]
CURRENT = "releases/tiny/current.json"
MODEL = "members/ela/model.onnx"

pytestmark = pytest.mark.s3


class Relay:
    """Passes connections on to a server, in a thread; what flows back stops after so many bytes in all.

    Attributes:
        left: bytes that may still flow back; None for no limit.
        cut: whether to close a connection at the limit, and start counting anew; else it stays open and silent.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.left: int | None = None
        self.cut = False
        self.limit = 0
        self.stopped = threading.Event()
        self._target = (parts.hostname, parts.port)
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", port))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def stop_after(self, count: int, *, cut: bool) -> None:
        """Let so many bytes flow back."""
        self.limit = self.left = count
        self.cut = cut

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._target)
        upward = asyncio.ensure_future(self._pass(client, to_server))
        while data := await server.read(1000):
            if self.left is not None:
                data, self.left = data[: self.left], self.left - min(len(data), self.left)
            to_client.write(data)
            if self.left == 0:
                await to_client.drain()
                self.stopped.set()
                if not self.cut:
                    await asyncio.Event().wait()
                self.left = self.limit
                break
        upward.cancel()
        to_client.close()
        to_server.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)


@pytest.fixture
def relay(seaweed: SeaweedServer) -> Iterator[Relay]:
    made = Relay(seaweed.endpoint)
    yield made
    made.close()


@pytest.fixture
def release(bucket: str, tiny_bundle: Path, publish: Publish) -> str:
    """URI of the pointer to the published bundle."""
    publish(bucket, tiny_bundle)
    return f"{bucket}/{CURRENT}"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the servers that the test starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def damage(bucket: str, key: str, change: Callable[[bytes], bytes]) -> None:
    store = open_store(bucket)
    store.write(f"releases/tiny/{key}", change(store.read(f"releases/tiny/{key}")))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_a_release_is_served_by_an_account_that_may_only_read(
    release: str,
    tiny_bundle: Path,
    seaweed: SeaweedServer,
    start: Start,
    look: Look,
    picture: Callable[..., bytes],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in seaweed.reader_environment.items():
        monkeypatch.setenv(name, value)
    server = start(release)
    server.wait_until_ready()
    probe = look(server)
    assert probe.analyze(picture()).status == 200
    assert probe.metric("bundle_info", sha256=read_bundle(tiny_bundle).sha256) == 1
    assert list(temporary.iterdir())
    server.terminate()
    assert server.wait() == 0
    assert not list(temporary.iterdir())  # what was fetched goes with the process


def test_a_store_that_comes_back_while_it_is_tried_again_is_used(
    release: str, seaweed: SeaweedServer, start: Start, look: Look
) -> None:
    seaweed.kill()
    try:
        server = start(release)
        probe = look(server)
        assert probe.until(lambda: "trying again" in server.log)
        assert probe.ready == 503
        assert probe.get("/v2/health/live").status == 200
    finally:
        seaweed.start()
    server.wait_until_ready(60)


def test_a_store_that_stays_away_ends_the_process_with_the_reason(
    release: str, start: Start, refusal: Refusal, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    log = refusal(start(release, load_timeout=2))
    assert log.count("trying again") >= 2
    assert "127.0.0.1:9" in log
    assert "error: the bundle was not loaded within 2 s" in log
    assert not list(temporary.iterdir())


def test_after_the_last_try_the_reason_names_the_address(
    release: str, make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("core.storage.faults.RetryPolicy.delays", lambda policy: iter([0.0] * 3))
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9.*check AWS_ENDPOINT_URL"):
        make_service(bundle=release)


def test_a_wrong_key_ends_the_process_at_once_and_names_the_variables(
    release: str, start: Start, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    log = refusal(start(release))
    assert "trying again" not in log
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in log
    assert "not-the-secret" not in log


def test_an_altered_object_ends_the_process_with_its_name(
    release: str, bucket: str, start: Start, refusal: Refusal
) -> None:
    damage(bucket, f"1/{MODEL}", flipped)
    assert f"{MODEL} is not the file" in refusal(start(release))


@pytest.mark.parametrize(
    ("key", "change", "says"),
    [
        (f"1/{MODEL}", lambda data: data[:-1], MODEL),
        (f"1/{MODEL}", lambda data: b"", MODEL),
        ("1/card.md", flipped, "card.md"),
        ("1/bundle.json", flipped, "bundle.json has sha256"),
        ("1/bundle.json", lambda data: data + b"\n", "bundle.json has sha256"),
        ("current.json", lambda data: data[:-1], "current.json"),
        ("current.json", lambda data: data.replace(b'"1"', b'"2"'), "releases/tiny/2 holds no bundle"),
        ("current.json", lambda data: data.replace(b'"1"', b'"../1"'), "current.json"),
    ],
)
def test_a_damaged_object_is_refused_by_name(
    release: str,
    bucket: str,
    make_service: Callable[..., Service],
    key: str,
    change: Callable[[bytes], bytes],
    says: str,
) -> None:
    damage(bucket, key, change)
    with pytest.raises(Exception, match=says):
        make_service(bundle=release)


def test_a_connection_that_breaks_again_and_again_is_taken_up_where_it_broke(
    release: str, tiny_bundle: Path, relay: Relay, make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.endpoint)
    monkeypatch.setattr("core.storage.faults.RetryPolicy.delays", lambda policy: iter([0.0] * 9))
    relay.stop_after(6000, cut=True)
    service = make_service(bundle=release)
    assert relay.stopped.is_set()
    assert service.analyzer.bundle.sha256 == read_bundle(tiny_bundle).sha256


def test_killed_half_way_it_starts_again_from_what_is_whole(
    release: str,
    tiny_bundle: Path,
    relay: Relay,
    start: Start,
    look: Look,
    tmp_path: Path,
    seaweed: SeaweedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    whole = {path.relative_to(tiny_bundle): path for path in tiny_bundle.rglob("*") if path.is_file()}
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.endpoint)
    relay.stop_after(sum(path.stat().st_size for path in whole.values()) // 2, cut=False)
    server = start(release, cache=str(cache))
    assert relay.stopped.wait(30)
    time.sleep(0.2)
    assert look(server).ready == 503
    server.kill()
    found = [path for path in (cache / "tiny").rglob("*") if path.is_file() and not is_temporary(path.name)]
    assert 0 < len(found) < len(whole)
    for path in found:  # under its own name lies no half of a file
        assert digest(path) == digest(whole[path.relative_to(cache / "tiny")])
    kept = {path: path.stat().st_ino for path in found if path.name != "bundle.json"}

    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed.endpoint)
    again = start(release, cache=str(cache))
    again.wait_until_ready()
    for relative, path in whole.items():
        assert digest(cache / "tiny" / relative) == digest(path)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert look(again).metric("bundle_info", sha256=read_bundle(tiny_bundle).sha256) == 1


def test_while_it_loads_it_says_so_and_sigterm_ends_it_with_status_0(
    release: str, relay: Relay, start: Start, look: Look, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.endpoint)
    relay.stop_after(0, cut=False)
    server = start(release)
    probe = look(server)
    assert relay.stopped.wait(30)
    reply = probe.analyze(picture())
    assert (reply.status, reply.reason) == (503, "not-ready")
    assert int(reply.headers["retry-after"]) > 0
    assert probe.metric("rejected_total", reason="not-ready") == 1
    assert probe.ready == 503
    server.terminate()
    assert server.wait(5) == 0
    assert "Traceback" not in server.log


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
