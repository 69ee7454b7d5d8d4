"""Connections that do not stay open for clients who send too slowly, or who do not read their answers."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
LINGER_SECONDS = 5.0
SEND_SECONDS = 10.0
SEND_BYTES = 64 * 1024  # of an answer, at least, that a client takes in each SEND_SECONDS


class Connection(HttpToolsProtocol):
    """Uvicorn's, with limits on the time that a header takes, that an answer takes, and that follows an early answer.

    After an answer that came before the end of the request, the rest of the body is read and dropped for a while:
    closing at once would reset the connection, and the client would never see why it was refused.
    """

    _header_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

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
        """Start waiting for the answer to be read, and for the end of a request that is answered early."""
        super().on_response_complete()
        self._watch_sending()
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
        _cancel(self._send_timer)
        super().connection_lost(exc)

    def _watch_sending(self) -> None:
        # Closing is no way out: it waits for the answer to be read.
        _cancel(self._send_timer)
        left = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(SEND_SECONDS, self._require_progress, left) if left else None

    def _require_progress(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left and left > before - SEND_BYTES:
            self.transport.abort()
        else:
            self._watch_sending()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
