"""Running the server: load in the background, answer health from the start, drain on SIGTERM."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from prometheus_client import disable_created_metrics

from core.errors import StorageError, VeriframeError
from serving.app import create_app
from serving.connection import Connection
from serving.service import Service
from serving.settings import ServerSettings

KEEP_ALIVE_SECONDS = 5
BACKLOG = 2048

_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Uvicorn's server with this service's life: loading → ready → draining → exit."""

    def __init__(self, service: Service) -> None:
        settings = service.settings
        super().__init__(
            uvicorn.Config(
                create_app(service),
                host=settings.host,
                port=settings.port,
                http=Connection,
                ws="none",
                lifespan="off",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here depends on where a client says it comes from
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                # What was accepted has this long; a request still being read may add its own time.
                timeout_graceful_shutdown=int(max(settings.timeout, settings.video_timeout) + settings.body_timeout)
                + 1,
            )
        )
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then load."""
        await super().startup(sockets)
        if self.started:
            self._spawn(self._load())

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT; Uvicorn's own would end the process with the signal instead of status 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self._spawn(self._drain(self._service.settings.drain_delay)))
        loop.add_signal_handler(signal.SIGINT, lambda: self._spawn(self._drain(0.0)))
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[None] = loop.create_future()

        def finish(failure: VeriframeError | None) -> None:
            if loaded.done():  # given up meanwhile
                return
            if failure is None:
                loaded.set_result(None)
            else:
                loaded.set_exception(failure)

        def work() -> None:
            failure: VeriframeError | None = None
            try:
                self._service.load()
            except VeriframeError as error:
                failure = error
            except Exception as error:
                # A runtime refuses a file of the right hash in its own words.
                failure = VeriframeError(f"the bundle cannot be loaded: {error!r}")
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, failure)

        # A daemon, so that a store that does not answer cannot keep the process from ending.
        threading.Thread(target=work, name="loader", daemon=True).start()
        seconds = self._service.settings.load_timeout
        try:
            await asyncio.wait_for(loaded, seconds)
        except TimeoutError:
            self._give_up(StorageError(f"the bundle was not loaded within {seconds:g} s (load_timeout)"))
        except VeriframeError as error:
            self._give_up(error)
        else:
            _log.info("ready")

    def _give_up(self, error: VeriframeError) -> None:
        self._service.failure = error
        self._service.drain()  # a loader that ends a moment later must not make it ready
        self.should_exit = True

    async def _drain(self, delay: float) -> None:
        self._service.drain()
        await asyncio.sleep(delay)
        self.should_exit = True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def serve(settings: ServerSettings) -> None:
    """Serve until a signal ends it.

    Raises:
        VeriframeError: when the bundle cannot be loaded, or the address cannot be listened on.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody queries
    service = Service(settings)
    server = Server(service)
    try:
        server.run()
    except SystemExit:
        raise StorageError(f"cannot listen on {settings.host}:{settings.port}; is the port taken?") from None
    finally:
        service.close()
    if service.failure is not None:
        raise service.failure
