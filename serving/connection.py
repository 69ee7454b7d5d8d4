"""Connections that do not stay open for clients who send a header, or the rest of a refused body, too slowly."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
LINGER_SECONDS = 5.0


class Connection(HttpToolsProtocol):
    """Uvicorn's, with a limit on the time that a header takes, and on what follows an early answer.

    After an answer that came before the end of the request, the rest of the body is read and dropped for a while:
    closing at once would reset the connection, and the client would never see why it was refused.
    """

    _header_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first header."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(HEADER_SECONDS, transport.close)

    def on_message_begin(self) -> None:
        """Start waiting for a further header on the same connection."""
        super().on_message_begin()
        _cancel(self._header_timer)
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stop waiting for the header."""
        _cancel(self._header_timer)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Start waiting for the end of a request that is answered already."""
        super().on_response_complete()
        # Of pipelined requests, self.cycle may be one that has not had its answer.
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def on_message_complete(self) -> None:
        """Stop waiting for the end, and let the connection be used again."""
        if self._linger_timer is not None:
            _cancel(self._linger_timer)
            self._linger_timer = None
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for anything."""
        _cancel(self._header_timer)
        _cancel(self._linger_timer)
        super().connection_lost(exc)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
