"""SIGTERM: at once where nothing would be lost, at the next step boundary while weights are being changed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Self

EXIT_STATUS = 128 + signal.SIGTERM  # 143, what a shell reports of a process that SIGTERM ended


def leave_to_parent(worker: int) -> None:  # noqa: ARG001  the signature is the data loader's
    """Put a data loading process into a group of its own, which a SIGTERM to the training process's does not reach.

    The training process still needs it for the step under way, and ends it when it ends itself. Ignoring the signal
    would not do: at an unclean exit it is by SIGTERM that Python ends such processes, and then waits for them.
    """
    os.setpgrp()


class Termination(AbstractContextManager["Termination"]):
    """While entered, SIGTERM exits with 143: at once, or inside ``deferred`` when the caller asks ``requested``.

    Outside the main thread, where Python sets no signal handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def __enter__(self) -> Self:
        self._installed = threading.current_thread() is threading.main_thread()
        if self._installed:
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._before)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note a SIGTERM while inside."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            raise SystemExit(EXIT_STATUS)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is Python's
        self.requested = True
        if not self._deferred:
            raise SystemExit(EXIT_STATUS)
