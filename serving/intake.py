"""What gets in: a bounded number of requests, and of decoded pixels at one time."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from bundle.analyzers import Category, RequestError

LONGEST_RETRY = 60  # seconds; beyond that a client should ask its operator, not wait


class Intake:
    """Counts requests.

    Args:
        places: requests that may be worked on at the same time.
        open_bytes: of the bodies of all requests at the same time.
        backlog_seconds: how long what is queued will take, for ``Retry-After``.
    """

    def __init__(self, places: int, open_bytes: int, backlog_seconds: Callable[[], float]) -> None:
        self._places = places
        self._free_bytes = open_bytes
        self._backlog_seconds = backlog_seconds
        self.in_flight = 0

    @contextmanager
    def arriving(self, size: int) -> Iterator[None]:
        """Refuse early, before a body is read, what would find no place; and bodies that together are too large.

        Args:
            size: bytes the body has at most.

        Raises:
            RequestError: busy.
        """
        if self.in_flight >= self._places:
            raise self._full(f"{self._places} requests are being worked on")
        if size > self._free_bytes:
            raise self._full("the requests that are here already hold too many bytes")
        self._free_bytes -= size
        try:
            yield
        finally:
            self._free_bytes += size

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for a request that has arrived in full.

        Raises:
            RequestError: busy when there is none.
        """
        if self.in_flight >= self._places:
            raise self._full(f"{self._places} requests are being worked on")
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def _full(self, why: str) -> RequestError:
        seconds = min(max(1, math.ceil(self._backlog_seconds())), LONGEST_RETRY)
        return RequestError(Category.BUSY, "queue-full", f"{why}; try again in {seconds} s", retry_after=seconds)


class PixelBudget:
    """Bounds the pixels that are decoded at one time, whatever mixture of sizes comes; first come, first served.

    Used from one event loop.

    Args:
        total: pixels. A picture larger than that gets in alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Wait until there is room for a picture of ``pixels``."""
        share = min(pixels, self._total)
        if self._waiting or share > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((share, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.cancelled():
                    self._admit()  # those behind may fit
                else:
                    self._give_back(share)  # the turn came just before the cancellation
                raise
        else:
            self._free -= share
        try:
            yield
        finally:
            self._give_back(share)

    def _give_back(self, pixels: int) -> None:
        self._free += pixels
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            share, turn = self._waiting[0]
            if not turn.cancelled():
                if share > self._free:
                    return
                self._free -= share
                turn.set_result(None)
            self._waiting.popleft()
