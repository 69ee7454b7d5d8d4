"""Headers, forms and connections that no good client makes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.load import post_picture

ROUTE = b"/v1/analyze"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"


def request(*headers: bytes, body: bytes = b"", method: bytes = b"POST", target: bytes = ROUTE) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def part(content: bytes = b"x", name: bytes = b'name="file"; filename="x"', more: bytes = b"") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + name + more + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes, end: bytes = b"--b--\r\n", content_type: bytes = FORM) -> bytes:
    body = b"".join(parts) + end
    return request(content_type.strip(), b"Content-Length: %d" % len(body), body=body)


def chunked(*lines: bytes) -> bytes:
    return request(FORM.strip(), b"Transfer-Encoding: chunked", body=b"".join(lines))


# What the parser of HTTP refuses: its answer is plain text, or none where the connection cannot be made sense of.
UNREADABLE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET /v2 HTTP/3.0\r\nHost: x\r\n\r\n",
    "a method nobody knows": request(method=b"BREW"),
    "a method in lower case": request(method=b"post"),
    "a space in the path": request(target=b"/v2 /models"),
    "a control character in the path": request(target=b"/v2\x01"),
    "a NUL in a header": request(b"X: a\0b"),
    "a NUL in a header's name": request(b"X\0Y: a"),
    "a space before the colon": request(b"X : a"),
    "a folded header": request(b"X: a\r\n b", b"Y: c", b"Content-Length: 0x1"),
    "a header without a colon": request(b"X"),
    "a bare line feed": b"POST /v1/analyze HTTP/1.1\nHost: x\nContent-Length : 1\n\n",
    "two lengths": request(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "a negative length": request(b"Content-Length: -1"),
    "a length with a sign": request(b"Content-Length: +5", body=b"hello"),
    "a length in hexadecimal": request(b"Content-Length: 0x5", body=b"hello"),
    "a length of words": request(b"Content-Length: five", body=b"hello"),
    "a length of 10¹⁰⁰": request(b"Content-Length: 1" + b"0" * 100),
    "a length and chunks": request(
        FORM.strip(), b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunks and another coding": request(FORM.strip(), b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "a coding nobody knows": request(FORM.strip(), b"Transfer-Encoding: gzip", body=b"hello"),
    "a chunk of no size": chunked(b"\r\n", part()),
    "a chunk of words": chunked(b"five\r\nhello\r\n"),
    "a chunk of a negative size": chunked(b"-5\r\nhello\r\n"),
    "a chunk of 2⁶⁸ bytes": chunked(b"1" + b"0" * 17 + b"\r\n"),
    "a chunk longer than it says": chunked(b"1\r\nhello\r\n0\r\n\r\n"),
}

# What the server itself refuses: (request, statuses).
REFUSED = {
    "no body": (request(), {400}),
    "no length": (request(FORM.strip()), {400, 422}),
    "no chunks": (chunked(b"0\r\n\r\n"), {400, 422}),
    "JSON": (request(b"Content-Type: application/json", b"Content-Length: 2", body=b"{}"), {400}),
    "a form in the URL's way": (
        request(b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 6", body=b"file=x"),
        {400},
    ),
    "no boundary": (form(part(), content_type=b"Content-Type: multipart/form-data"), {400}),
    "an empty boundary": (form(part(), content_type=b'Content-Type: multipart/form-data; boundary=""'), {400, 422}),
    "a boundary of 5,000 letters": (
        form(part(), content_type=b"Content-Type: multipart/form-data; boundary=" + b"b" * 5000),
        {400},
    ),
    "a boundary that is not ASCII": (
        form(part(), content_type=b"Content-Type: multipart/form-data; boundary=\xff\xfe"),
        {400},
    ),
    "another boundary": (form(part(), content_type=b"Content-Type: multipart/form-data; boundary=c"), {400, 422}),
    "two types": (form(part(), content_type=b"Content-Type: text/plain\r\n" + FORM.strip()), {400}),
    "a charset nobody knows": (form(part(), content_type=FORM.strip() + b"; charset=nobody"), {422}),
    "a charset that is no text": (form(part(), content_type=FORM.strip() + b"; charset=base64"), {400, 422}),
    "a charset that is compressed": (form(part(), content_type=FORM.strip() + b"; charset=zlib"), {400, 422}),
    "UTF-16": (form(part(), content_type=FORM.strip() + b"; charset=utf-16"), {400, 422}),
    "IDNA": (form(part(name=b'name="\xff\xff"'), content_type=FORM.strip() + b"; charset=idna"), {400, 422}),
    "no parts": (form(), {400, 422}),
    "only the end": (form(end=b"--b--"), {400, 422}),
    "no end": (form(part(), end=b""), {400, 422}),
    "half a boundary": (form(part(), end=b"--"), {400, 422}),
    "an empty file": (form(part(b"")), {422}),
    "a field that is no file": (form(part(name=b'name="file"')), {422}),
    "another field": (form(part(name=b'name="picture"; filename="x"')), {422}),
    "no name": (form(part(name=b'filename="x"')), {400}),
    "an empty name": (form(part(name=b'name=""; filename="x"')), {422}),
    "the file twice": (form(part(), part()), {400, 422}),
    "a part without a header": (form(b"--b\r\n\r\nx\r\n"), {400}),
    "a part with half a header": (form(b"--b\r\nContent-Disp\r\n\r\nx\r\n"), {400}),
    "a header that is not ASCII": (form(b"--b\r\n\xff\xfe: form-data\r\n\r\nx\r\n"), {400}),
    "ten thousand parts": (form(*[part(name=b'name="n"')] * 10_000), {400}),
    "ten thousand files": (form(*[part()] * 10_000), {400}),
    "ten thousand headers in a part": (form(part(more=b"\r\nX: y" * 10_000)), {400, 422}),
    "a part's header of 1 MB": (form(part(more=b"\r\nX: " + b"y" * 2**20)), {400, 422}),
    "a field of 2 MB": (form(part(b"x" * 2**21, name=b'name="n"'), part()), {400}),
    "a file name with a path": (form(part(name=b'name="file"; filename="../../etc/passwd"')), {422}),
    "a file name with a line": (form(part(name=b'name="file"; filename="a%0d%0aX: y"')), {422}),
    "a file name with a NUL": (form(part(name=b'name="file"; filename="a\0b"')), {400, 422}),
    "a file name of 100,000 letters": (form(part(name=b'name="file"; filename="' + b"x" * 100_000 + b'"')), {400, 422}),
    "a file name that is not UTF-8": (form(part(name=b'name="file"; filename="\xff"')), {422}),
    "a parameter that is no boolean": (request(b"Content-Length: 0", target=ROUTE + b"?mask=perhaps"), {422}),
    "a parameter that is noise": (
        request(b"Content-Length: 0", target=ROUTE + b"?mask=%ff%00&mask=1&" + b"a=b&" * 999),
        {400, 422},
    ),
    "a path that is not there": (request(target=b"/v1/nothing"), {404}),
    "a path that goes up": (request(target=b"/../../etc/passwd"), {404}),
    "a path that goes up unseen": (request(target=b"/%2e%2e/%2e%2e/etc/passwd"), {404}),
    "a path with a NUL": (request(target=b"/v1/analyze%00"), {404}),
    "a path with two slashes": (request(target=b"//v1/analyze"), {400, 404}),
    "a path of 60,000 letters": (request(target=b"/" + b"x" * 60_000), {404, 414}),
    "a path that is not UTF-8": (request(target=b"/%ff%fe"), {404}),
    "a path in UTF-8 as it is": (request(target="/prüfen".encode()), {400, 404}),
    "an asterisk": (request(method=b"OPTIONS", target=b"*"), {400, 404, 405}),
    "another method": (request(method=b"DELETE"), {405}),
    "TRACE": (request(method=b"TRACE", target=b"/v2"), {405}),
    "CONNECT": (request(method=b"CONNECT", target=b"example.org:443"), {400, 404, 405}),
    "an upgrade": (
        request(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
        {400, 404, 426},
    ),
    "an upgrade to HTTP/2": (
        request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
        {400},
    ),
    "compressed": (
        request(FORM.strip(), b"Content-Encoding: gzip", b"Content-Length: 2", body=b"\x1f\x8b"),
        {400, 422},
    ),
    "an expectation nobody knows": (request(b"Expect: 200-ok", b"Content-Length: 0"), {400, 417}),
    "an identifier with a line": (request(b"X-Request-ID: a\tb", b"Content-Length: 0"), {400}),
    "a thousand headers": (request(*[b"X-%d: y" % number for number in range(1000)], b"Content-Length: 0"), {400, 431}),
    "a header of 64 KB": (request(b"X: " + b"y" * 65_536, b"Content-Length: 0"), {400, 431}),
}

# What is unusual, and right.
ANSWERED = {
    "HTTP/0.9": b"GET /v2\r\n\r\n",
    "HTTP/1.0": b"GET /v2 HTTP/1.0\r\n\r\n",
    "no host": b"GET /v2 HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v2 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "an absolute address": b"GET http://example.org/v2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body with GET": request(b"Content-Length: 3", body=b"abc", method=b"GET", target=b"/v2"),
    "a request line after empty lines": b"\r\n\r\n" + request(method=b"GET", target=b"/v2"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_http_is_refused_and_the_connection_closed(target: Any, name: str) -> None:
    with target.wire(5) as wire:
        wire.send(UNREADABLE[name])
        replies = wire.replies()
        assert [reply.status for reply in replies] in ([], [400])
        assert wire.rest() == 0


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_in_a_form_is_refused_with_a_reason(target: Any, name: str) -> None:
    data, statuses = REFUSED[name]
    reply = target.ask(data, 5)
    assert reply.status in statuses, reply.body
    if reply.body != b"Invalid HTTP request received.":
        assert reply.reason


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_unusual_is_answered(target: Any, name: str) -> None:
    reply = target.ask(ANSWERED[name], 5)
    assert reply.status == 200
    assert b"veriframe" in reply.body


def test_requests_in_a_row_on_one_connection_are_answered_in_order(target: Any, picture: Callable[..., bytes]) -> None:
    good = post_picture("http://x/v1/analyze?mask=false", picture())
    refused, _ = REFUSED["a field that is no file"]
    with target.wire() as wire:
        wire.send(good + refused + request(method=b"GET", target=b"/v2") + good)
        assert [reply.status for reply in wire.replies(4)] == [200, 422, 200, 200]


def test_a_request_hidden_behind_another_is_not_seen(target: Any) -> None:
    hidden = b"GET /v2/models/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    before = target.metric("requests_total", route="/v2/models/{name}")
    for smuggled in (
        request(FORM.strip(), b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + hidden),
        request(FORM.strip(), b"Content-Length: 0", b"Content-Length: 50", body=hidden),
        chunked(b"0\r\nTrailer: a\r\nContent-Length: 9\0\r\n\r\n") + hidden,
    ):
        with target.wire(5) as wire:
            wire.send(smuggled)
            assert len(wire.replies(2)) < 2
    assert target.metric("requests_total", route="/v2/models/{name}") == before


def test_none_of_them_leaves_anything_behind(
    target: Any, unharmed: None, no_growth: Callable[[Callable[[], None]], None]
) -> None:
    def send_all() -> None:
        for data in [*UNREADABLE.values(), *(data for data, _ in REFUSED.values()), *ANSWERED.values()]:
            with target.wire(5) as wire:
                wire.send(data)
                wire.replies()

    no_growth(send_all)


def test_two_hundred_half_requests_at_a_time_block_nobody(
    target: Any, unharmed: None, picture: Callable[..., bytes]
) -> None:
    good = post_picture("http://x/v1/analyze?mask=false", picture())
    halves = [b"", good[:20], good[:200], good[:-10]]
    wires = [target.wire() for _ in range(200)]
    for number, wire in enumerate(wires):
        wire.send(halves[number % 4])
    started = time.monotonic()
    assert target.analyze(picture()).status == 200
    assert time.monotonic() - started < 5
    for wire in wires:
        wire.socket.close()
