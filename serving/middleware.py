"""Around every request: an identifier, and what is counted."""

import random
import re
import time
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import CLIENT_CLOSED
from serving.service import Service

UNMATCHED = "unmatched"  # a label for every path that is no route, or scans would make new series without end
REQUEST_ID = "x-request-id"


class Observer:
    """Pure ASGI middleware, so that bodies pass through untouched."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = CLIENT_CLOSED
        scope["request_id"] = _request_id(Headers(scope=scope).get(REQUEST_ID, ""))

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(REQUEST_ID.encode(), scope["request_id"].encode())]
                if self._service.state == "draining":  # clients who keep connections must look for another server
                    added.append((b"connection", b"close"))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            metrics = self._service.metrics
            metrics.requests.labels(route, str(status)).inc()
            metrics.request_seconds.labels(route).observe(time.perf_counter() - started)


def _request_id(given: str) -> str:
    """Keep a client's identifier if it is one that can stand in a header and a log; otherwise make one."""
    # uuid4 asks the system for chance and then waits for the interpreter's lock again; nobody must guess these.
    made = uuid.UUID(int=random.getrandbits(128), version=4)
    return given if re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", given) else str(made)
