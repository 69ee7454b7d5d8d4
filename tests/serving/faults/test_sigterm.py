"""SIGTERM while clients go on sending: every request whose bytes the server took is answered."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.load import Load, closed_loop, post_picture
from serving.process import ServerProcess

DELAY = 1.0
Start = Callable[..., ServerProcess]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def request_bytes(picture: Callable[..., bytes]) -> bytes:
    return post_picture("http://127.0.0.1/v1/analyze?mask=false", picture(60, 60))


def begin(pool: ThreadPoolExecutor, server: ServerProcess, request: bytes, clients: int = 12) -> Future[Load]:
    """Load the server for longer than it will live, and return once answers come."""
    load = pool.submit(closed_loop, server.url, [request], clients, seconds=5)
    time.sleep(1)
    return load


def test_under_load_all_that_was_accepted_is_answered(
    slow_bundle: Path, start: Start, look: Callable[..., Any], threads: ThreadPoolExecutor, request_bytes: bytes
) -> None:
    server = start(slow_bundle, drain_delay=DELAY)
    server.wait_until_ready()
    probe = look(server)
    load = begin(threads, server, request_bytes)
    assert probe.ready == 200
    server.terminate()
    sent = time.monotonic()
    assert probe.until(lambda: probe.ready == 503, DELAY)
    assert probe.get("/v2/health/live").status == 200
    assert server.wait(20) == 0
    assert time.monotonic() - sent >= DELAY

    outcomes = load.result().outcomes
    during = [outcome for outcome in outcomes if sent + 0.2 < outcome.started < sent + DELAY - 0.1]
    assert len(during) > 5
    assert {outcome.status for outcome in during} == {200}  # still accepted, though not ready
    assert all(outcome.headers.get("connection") == "close" for outcome in during)
    lost = [outcome for outcome in outcomes if outcome.failure]
    assert lost
    for outcome in lost:
        # After the listener closed; none of them cut off, and none on a connection that was to be used again.
        assert outcome.started > sent + DELAY - 0.1
        assert not outcome.partial
        assert not outcome.reused
        assert outcome.failure in ("refused", "reset", "closed")
    assert {outcome.status for outcome in outcomes if not outcome.failure} == {200}


def test_what_is_queued_at_the_end_of_the_delay_is_answered(
    slow_bundle: Path, start: Start, look: Callable[..., Any], threads: ThreadPoolExecutor, request_bytes: bytes
) -> None:
    server = start(slow_bundle, drain_delay=0)
    server.wait_until_ready()
    probe = look(server)
    load = threads.submit(closed_loop, server.url, [request_bytes], 40, count=40)
    assert probe.until(lambda: probe.metric("in_flight") == 40)
    server.terminate()
    assert server.wait(20) == 0
    assert load.result().counts == {200: 40}
    assert "Traceback" not in server.log


def test_a_body_that_is_still_arriving_is_waited_for(
    slow_bundle: Path, start: Start, look: Callable[..., Any], request_bytes: bytes
) -> None:
    server = start(slow_bundle, drain_delay=0)
    server.wait_until_ready()
    with look(server).wire() as wire:
        wire.send(request_bytes[:-200])
        time.sleep(0.2)
        server.terminate()
        time.sleep(0.5)
        wire.send(request_bytes[-200:])
        (reply,) = wire.replies()
    assert reply.status == 200
    assert server.wait(20) == 0


def test_a_client_that_never_sends_the_rest_cannot_keep_the_process(
    tiny_bundle: Path, start: Start, look: Callable[..., Any], request_bytes: bytes
) -> None:
    server = start(tiny_bundle, drain_delay=0, body_timeout=1)
    server.wait_until_ready()
    probe = look(server)
    with probe.wire() as wire, probe.wire() as idle, probe.wire() as half:
        wire.send(request_bytes[:-200])
        half.send(b"POST /v1/ana")
        time.sleep(0.2)
        server.terminate()
        (reply,) = wire.replies()
        assert (reply.status, reply.reason) == (408, "slow-body")
        assert idle.rest() == 0
        assert half.rest() == 0
        assert server.wait(20) == 0


@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM, signal.SIGINT), (signal.SIGINT,)])
def test_further_signals_and_an_interrupt_lose_nothing(
    slow_bundle: Path,
    start: Start,
    look: Callable[..., Any],
    threads: ThreadPoolExecutor,
    request_bytes: bytes,
    numbers: tuple[signal.Signals, ...],
) -> None:
    server = start(slow_bundle, drain_delay=0.5)
    server.wait_until_ready()
    probe = look(server)
    load = threads.submit(closed_loop, server.url, [request_bytes], 30, count=30)
    assert probe.until(lambda: probe.metric("in_flight") == 30)
    for number in numbers:
        os.kill(server.pid, number)
        time.sleep(0.05)
    assert server.wait(20) == 0
    assert load.result().counts == {200: 30}
    assert "Traceback" not in server.log
