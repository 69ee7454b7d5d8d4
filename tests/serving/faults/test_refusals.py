"""Every limit has its status, its reason and its count; work that nobody waits for is given up."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.load import closed_loop, post, post_picture
from serving.process import ServerProcess

QUEUE = 4
TIMEOUT = 1.5
MAX_BYTES = 200_000
ROUTE = "/v1/analyze"
CODES = {
    "slow-body": "408",
    "too-many-bytes": "413",
    "too-many-pixels": "422",
    "queue-full": "429",
    "client-gone": "499",
    "timeout": "504",
}


@pytest.fixture(scope="module")
def strict(slow_bundle: Path, look: Callable[..., Any]) -> Iterator[Any]:
    """A probe of a slow server with small limits."""
    limits = {"queue": QUEUE, "timeout": TIMEOUT, "max_bytes": MAX_BYTES, "max_pixels": 1_000_000, "body_timeout": 1.0}
    with ServerProcess(slow_bundle, threads=1, **limits) as server:
        yield look(server)


@contextmanager
def counted(probe: Any, **times: int) -> Iterator[None]:
    """Check how often requests were refused for these reasons meanwhile, and that none was for another."""
    counts = {reason.replace("_", "-"): number for reason, number in times.items()}

    def figures() -> list[float]:
        rejected = [probe.metric("rejected_total", reason=reason) for reason in counts]
        codes = [probe.metric("requests_total", route=ROUTE, code=CODES[reason]) for reason in counts]
        return [*rejected, *codes, probe.metric("rejected_total")]

    expected = [*counts.values(), *counts.values(), sum(counts.values())]
    before = figures()
    yield
    # The count follows the answer.
    same = probe.until(lambda: [new - old for new, old in zip(figures(), before, strict=True)] == expected, 10)
    assert same, (counts, before, figures())


@pytest.fixture
def good(strict: Any, picture: Callable[..., bytes]) -> Iterator[bytes]:
    """A request for one tile; one is answered after the test too."""
    request = post_picture(f"{strict.url}{ROUTE}?mask=false", picture(60, 60))
    yield request
    assert strict.ask(request).status == 200
    assert strict.until(lambda: strict.metric("in_flight") == strict.metric("queue_depth") == 0, 2)


@pytest.fixture
def long(strict: Any, picture: Callable[..., bytes]) -> bytes:
    """A request for so many tiles that the time limit ends it."""
    return post_picture(f"{strict.url}{ROUTE}?mask=false", picture(900, 900))


def test_an_answer_that_takes_too_long_is_504_and_its_work_is_dropped(strict: Any, good: bytes, long: bytes) -> None:
    with counted(strict, timeout=1):
        started = time.monotonic()
        reply = strict.ask(long)
        seconds = time.monotonic() - started
    assert (reply.status, reply.reason) == (504, "timeout")
    assert TIMEOUT <= seconds < TIMEOUT + 2
    assert strict.until(lambda: strict.metric("queue_depth") == 0, 2)


def test_a_full_queue_is_429_and_says_when_to_come_again(strict: Any, good: bytes, long: bytes) -> None:
    with ThreadPoolExecutor(1) as pool, counted(strict, timeout=QUEUE, queue_full=1):
        load = pool.submit(closed_loop, strict.url, [long], QUEUE, count=QUEUE)
        assert strict.until(lambda: strict.metric("in_flight") == QUEUE)
        refused = strict.ask(good)
        assert load.result().counts == {504: QUEUE}
    assert (refused.status, refused.reason) == (429, "queue-full")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_too_many_bytes_are_413_from_the_header_alone(strict: Any, good: bytes) -> None:
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BYTES + 1}\r\n\r\n"
    with counted(strict, too_many_bytes=1):
        reply = strict.ask(head.encode())  # no body at all
    assert (reply.status, reply.reason) == (413, "too-many-bytes")


def test_too_many_bytes_are_413_while_they_come(strict: Any, good: bytes) -> None:
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    opening = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    first = f"{len(opening):x}\r\n".encode() + opening + b"\r\n"
    with counted(strict, too_many_bytes=1), strict.wire() as wire:
        wire.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + first, *[chunk] * 4)  # and no end
        (reply,) = wire.replies()
    assert (reply.status, reply.reason) == (413, "too-many-bytes")


def test_as_many_bytes_as_are_allowed_are_taken(strict: Any, good: bytes, picture: Callable[..., bytes]) -> None:
    data = picture(60, 60)
    overhead = len(post_picture(f"{strict.url}{ROUTE}", b"").partition(b"\r\n\r\n")[2])
    padded = data + bytes(MAX_BYTES - overhead - len(data))
    assert strict.analyze(padded).status == 200
    assert strict.analyze(padded + b"\0").status == 413


def test_too_many_pixels_are_422(strict: Any, good: bytes, picture: Callable[..., bytes]) -> None:
    with counted(strict, too_many_pixels=1):
        reply = strict.analyze(picture(1001, 1000))
    assert (reply.status, reply.reason) == (422, "too-many-pixels")
    assert "1,000,000" in reply.body.decode()


def test_a_body_that_does_not_arrive_in_time_is_408(strict: Any, good: bytes) -> None:
    with counted(strict, slow_body=1), strict.wire() as wire:
        wire.send(good[:-200], *[b"x"] * 15, pause=0.1)  # something comes all the time
        (reply,) = wire.replies()
    assert (reply.status, reply.reason) == (408, "slow-body")


def test_a_client_that_goes_away_while_it_sends_is_499(strict: Any, good: bytes) -> None:
    with counted(strict, client_gone=1), strict.wire() as wire:
        wire.send(good[:-200])
        time.sleep(0.1)


def test_the_work_for_a_client_that_goes_away_while_it_waits_is_dropped(strict: Any, good: bytes, long: bytes) -> None:
    with counted(strict, client_gone=3):
        wires = [strict.wire() for _ in range(3)]
        for wire in wires:
            wire.send(long)
        assert strict.until(lambda: strict.metric("queue_depth") > 0)
        for wire in wires:
            wire.socket.close()
        assert strict.until(lambda: strict.metric("in_flight") == strict.metric("queue_depth") == 0, TIMEOUT / 2)


def test_a_client_that_waits_for_permission_to_send_has_its_answer_before_it_sends(strict: Any, good: bytes) -> None:
    head, _, body = good.partition(b"\r\n\r\n")
    with strict.wire() as wire:
        wire.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        (interim,) = wire.replies()
        wire.send(body)
        (reply,) = wire.replies()
    assert (interim.status, reply.status) == (100, 200)
    too_long = post(f"{strict.url}{ROUTE}", bytes(MAX_BYTES + 1), "multipart/form-data; boundary=b")
    with counted(strict, too_many_bytes=1), strict.wire() as wire:
        wire.send(too_long.partition(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n")
        (reply,) = wire.replies()
    assert (reply.status, reply.reason) == (413, "too-many-bytes")
