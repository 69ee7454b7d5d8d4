"""Clients that send or read slowly, or not at all: they lose their connection, and nobody waits for them."""

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.load import closed_loop, post, post_picture
from serving.connection import HEADER_SECONDS, SEND_SECONDS

LONGEST, SLACK = max(HEADER_SECONDS, SEND_SECONDS), 4.0


def silent(wire: Any) -> None:
    wire.send(b"")


def header_by_header(wire: Any) -> None:
    wire.send(b"POST /v1/analyze HTTP/1.1\r\n", *[b"X: y\r\n"] * 60, pause=0.25)


def letter_by_letter(wire: Any) -> None:
    wire.send(*[b"A"] * 60, pause=0.25)


def second_header(wire: Any) -> None:
    wire.send(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\nGET /v2 HTTP/1.1\r\n")
    assert [reply.status for reply in wire.replies()] == [200]
    wire.send(*[b"X: y\r\n"] * 60, pause=0.25)


def idle_after_an_answer(wire: Any) -> None:
    wire.send(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [reply.status for reply in wire.replies()] == [200]


def rest_of_a_refused_body(wire: Any) -> None:
    wire.send(b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", *[b"x"] * 60, pause=0.25)


def answer_that_is_not_read(wire: Any) -> None:
    shape = [900, 900, 3]  # the answer is larger than what the system takes for a client
    data = [0] * (900 * 900 * 3)
    request = {"inputs": [{"name": "picture", "datatype": "UINT8", "shape": shape, "data": data}]}
    body = json.dumps(request, separators=(",", ":")).encode()
    wire.send(post("http://x/v2/models/tiny/infer", body, "application/json"))
    time.sleep(SEND_SECONDS + 2)
    assert wire.rest() < 12_000_000  # of some fifteen million bytes


SLOW = [
    answer_that_is_not_read,
    silent,
    header_by_header,
    letter_by_letter,
    second_header,
    idle_after_an_answer,
    rest_of_a_refused_body,
]


def test_connections_on_which_too_little_comes_are_closed(
    target: Any, unharmed: None, picture: Callable[..., bytes]
) -> None:
    """All at one time, since each takes its time; and meanwhile others are served."""
    lasted: dict[str, float] = {}

    def play(act: Callable[[Any], None]) -> None:
        started = time.monotonic()
        with target.wire(LONGEST + SLACK) as wire:
            act(wire)
            wire.rest()
        lasted[act.__name__] = time.monotonic() - started

    with ThreadPoolExecutor(len(SLOW)) as pool:
        acts = [pool.submit(play, act) for act in SLOW]
        good = post_picture(f"{target.url}/v1/analyze?mask=false", picture())
        assert closed_loop(target.url, [good], 2, count=20).counts == {200: 20}
        for act in acts:
            act.result()
    assert max(lasted.values()) < LONGEST + SLACK, lasted


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_trickles_in_is_408(target: Any, unharmed: None, chunked: bool) -> None:
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1000"
    head = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n" + length
    with target.wire() as wire:
        body = b"--b\r\nContent-Disposition: form-data; name=file; filename=x\r\n\r\n" + b"-" * 40
        pieces = [b"1\r\n%c\r\n" % byte if chunked else bytes([byte]) for byte in body]
        head += b"\r\n\r\n" + b"".join(pieces[:-40])
        threading.Thread(target=wire.send, args=(head, *pieces[-40:]), kwargs={"pause": 0.1}).start()
        (reply,) = wire.replies()
        assert (reply.status, reply.reason) == (408, "slow-body")


def test_a_client_that_half_closes_its_connection_holds_nothing(target: Any, unharmed: None) -> None:
    with target.wire() as wire:
        wire.send(b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
        wire.socket.shutdown(socket.SHUT_WR)
        assert len(wire.replies()) <= 1
        wire.rest()
