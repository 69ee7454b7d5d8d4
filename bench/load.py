"""A load generator for HTTP/1.1 on the loopback interface, cheap enough to share two cores with the server it loads.

Requests are prepared as bytes, connections are kept, and every request leaves an outcome: nothing is repeated and
nothing is left out.
"""

import asyncio
import itertools
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httptools
import uvloop

BOUNDARY = "veriframe-load"
REST_AFTER_FAILURE = 0.05  # seconds a client waits after a failed request, which a server that is gone fails at once
OLDEST_IDLE = (
    2.0  # seconds; below any server's keep-alive, so that no request crosses with the closing of its connection
)

Failure = Literal["", "refused", "closed", "reset", "late"]


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    Attributes:
        started: ``time.monotonic()`` when it was due: with an open loop its slot, with a closed one its sending.
        seconds: from then to the end of the answer, or to the failure.
        status: of the answer; 0 when none came to its end.
        failure: ``refused`` when no connection came about, ``closed`` or ``reset`` when it ended before the answer did,
            ``late`` when the answer did not come in time.
        partial: whether bytes of an answer had come before the failure.
        reused: whether the connection had carried a request before.
        headers: of the answer, names in lower case.
        body: of the answer.
    """

    started: float
    seconds: float
    status: int
    failure: Failure
    partial: bool
    reused: bool
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Load:
    """All outcomes of a run, in the order in which they ended, and how long it took from first to last."""

    outcomes: list[Outcome]
    seconds: float

    @property
    def counts(self) -> Counter[int | str]:
        """How many there were of each status, or of each failure."""
        return Counter(outcome.failure or outcome.status for outcome in self.outcomes)

    def of(self, status: int) -> list[Outcome]:
        """Return the outcomes with this status."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    def rate(self, status: int = 200) -> float:
        """Answers of this status a second."""
        return len(self.of(status)) / self.seconds

    def quantile(self, q: float, status: int = 200) -> float:
        """Seconds within which the share ``q`` of the answers of this status came."""
        seconds = sorted(outcome.seconds for outcome in self.of(status))
        return seconds[min(int(q * len(seconds)), len(seconds) - 1)]


def post(url: str, body: bytes, content_type: str) -> bytes:
    """Return the bytes of a POST request."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    header = (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return header.encode("ascii") + body


def post_picture(url: str, picture: bytes, field: str = "file") -> bytes:
    """Return the bytes of a request that sends a picture as a form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="picture"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    return post(url, body, f"multipart/form-data; boundary={BOUNDARY}")


def closed_loop(
    url: str,
    requests: Sequence[bytes],
    clients: int,
    *,
    count: int | None = None,
    seconds: float | None = None,
    patience: float = 60.0,
) -> Load:
    """Send with a fixed number of clients, each of which waits for its answer before it sends again.

    Args:
        url: of the server; its path is not used.
        requests: sent in turn, again from the first after the last.
        clients: how many, each on a connection of its own.
        count: requests in all; None for no limit.
        seconds: after which no more are sent; None for no limit.
        patience: seconds to wait for an answer.
    """
    turns = itertools.cycle(requests)
    budget = itertools.repeat(None) if count is None else itertools.repeat(None, count)
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")

    async def run() -> list[Outcome]:
        pool = _Pool(url, patience)

        async def client() -> list[Outcome]:
            outcomes = []
            while time.monotonic() < deadline and next(budget, budget) is None:
                outcome = await pool.exchange(next(turns), time.monotonic())
                outcomes.append(outcome)
                if outcome.failure:
                    await asyncio.sleep(REST_AFTER_FAILURE)
            return outcomes

        done = await asyncio.gather(*(client() for _ in range(clients)))
        pool.close()
        return list(itertools.chain.from_iterable(done))

    return _run(run)


def open_loop(
    url: str,
    requests: Sequence[bytes],
    rate: float,
    *,
    seconds: float,
    patience: float = 60.0,
    chance: random.Random | None = None,
) -> Load:
    """Send at a fixed rate, however slow the answers are.

    Args:
        url: of the server; its path is not used.
        requests: sent in turn, again from the first after the last.
        rate: requests a second, evenly spaced.
        seconds: for how long; answers are waited for beyond that.
        patience: seconds to wait for an answer.
        chance: spaces them as independent clients would (a Poisson process of the same mean rate) instead of evenly.
    """
    turns = itertools.cycle(requests)
    count = int(rate * seconds)
    gaps = [chance.expovariate(rate) if chance else 1 / rate for _ in range(count)]
    moments = itertools.accumulate(gaps, initial=0.0)

    async def run() -> list[Outcome]:
        pool = _Pool(url, patience)
        start, tasks = time.monotonic(), []
        for moment in itertools.islice(moments, count):
            due = start + moment
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.ensure_future(pool.exchange(next(turns), due)))
        outcomes = await asyncio.gather(*tasks)
        pool.close()
        return outcomes

    return _run(run)


def _run(work: Callable[[], Coroutine[Any, Any, list[Outcome]]]) -> Load:
    started = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(work())
    outcomes.sort(key=lambda outcome: outcome.started + outcome.seconds)
    return Load(outcomes, time.monotonic() - started)


class _Pool:
    """Connections to one server; each carries one request at a time."""

    def __init__(self, url: str, patience: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._patience = patience
        self._idle: list[_Connection] = []

    async def exchange(self, request: bytes, due: float) -> Outcome:
        """Send a request and wait for its answer."""
        connection = self._take()
        reused = connection is not None
        if connection is None:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
            except OSError:
                return Outcome(due, time.monotonic() - due, 0, "refused", False, False, {}, b"")
        failure: Failure = "late"
        try:
            async with asyncio.timeout(self._patience):
                failure = await connection.send(request)
        except TimeoutError:
            connection.close()
        seconds = time.monotonic() - due
        if not failure and not connection.ending:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
        status = 0 if failure else connection.status
        return Outcome(
            due, seconds, status, failure, connection.partial, reused, connection.headers, bytes(connection.body)
        )

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.close()

    def _take(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if not connection.ending and time.monotonic() - connection.idle_since < OLDEST_IDLE:
                return connection
            connection.close()
        return None


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.idle_since = 0.0
        self.ending = False  # closed, or not to be used again
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.partial = False
        self._transport: Any = None
        self._done: asyncio.Future[Failure] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> "asyncio.Future[Failure]":
        """Send a request; the future becomes how the exchange failed, or an empty string."""
        self.status, self.headers, self.body, self.partial = 0, {}, bytearray(), False
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._done

    def close(self) -> None:
        self.ending = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():
            self.close()  # bytes that nobody asked for
            return
        self.partial = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("reset")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending = True
        self._finish("reset" if exc else "closed")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.ending = self.ending or not self._parser.should_keep_alive()
        self._finish("")

    def _finish(self, failure: Failure) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(failure)
