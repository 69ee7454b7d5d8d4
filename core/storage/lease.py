"""A lease: of all processes that would write below one root of a store, one at a time holds it and may.

The lease is one object, written under a condition each time: whoever reads it free and writes first holds it. Its
holder renews it until the end. Expiry is judged by the clocks of the machines; should one be wrong, or a holder be
suspended beyond its time, the *fence* still tells them apart: it grows by one with every change of hands, and a holder
that writes must ``check`` first, which fails once another has taken over.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from core.errors import StorageError
from core.storage.base import NotFoundError, PreconditionFailedError, Store, join

DURATION = 120.0  # seconds that a lease outlives its last renewal
RENEWALS = 4  # in that time
LOOKS = 60  # at a lease that another holds, in the time of one
UNKNOWN = ""
PATIENCE = 5.0  # seconds that the end waits for a renewal under way

_log = logging.getLogger(__name__)


class LeaseHeldError(StorageError):
    """Another process that lives holds the lease."""


class LeaseLostError(StorageError):
    """The lease is another's by now: nothing more may be written."""


@dataclass(frozen=True)
class Holder:
    """What the lease object says.

    Attributes:
        owner: unique to one holding.
        host: its machine or pod, for a person.
        machine: of the kernel and the process namespace that ``pid`` is a number in, "" where that is not known.
        pid: the process.
        started: when the kernel started it, so that a later process of that number is told apart; "" if not known.
        fence: how often the lease changed hands, from 1.
        expires: seconds since the epoch; 0 when released.
    """

    owner: str
    host: str
    machine: str
    pid: int
    started: str
    fence: int
    expires: float

    @classmethod
    def of_this_process(cls) -> Self:
        """Describe this process; it holds nothing yet."""
        return cls(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()), 0, 0.0)

    @property
    def gone(self) -> bool:
        """Whether the process is known to have ended: it ran on this machine, and does no more."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's
            pass
        return _started(self.pid) not in (UNKNOWN, self.started)

    def __str__(self) -> str:
        until = datetime.fromtimestamp(self.expires, UTC)
        return f"process {self.pid} on {self.host}, until {until:%Y-%m-%d %H:%M:%S} UTC"


class Lease(AbstractContextManager["Lease"]):
    """Holds the lease while entered.

    Attributes:
        fence: of this holding, from 1; larger than that of every holding before.
    """

    def __init__(
        self, store: Store, key: str, *, notify: Callable[[str], None] = _log.warning, duration: float = DURATION
    ) -> None:
        """Set up a lease; nothing is contacted yet.

        Args:
            store: whose root is leased.
            key: of the lease object.
            notify: told when this process has to wait, or cannot renew.
            duration: seconds that the lease outlives its last renewal.
        """
        self._store = store
        self._key = key
        self._notify = notify
        self._duration = duration
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._holder = Holder.of_this_process()
        self._etag = ""
        self._lost = ""

    @property
    def fence(self) -> int:
        """See the class."""
        return self._holder.fence

    def __enter__(self) -> Self:
        """Take the lease.

        A lease that its holder released is taken at once, and so is one whose process ended on this machine. Else
        this waits until the lease expires or is seen to be renewed.

        Raises:
            LeaseHeldError: when its holder lives, with what to do.
            StorageError: when the store cannot be reached, or the object is no lease.
        """
        self._acquire()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lease, unless it is lost; what keeps it from being released lets it expire instead."""
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive() or self._lost:
            return
        try:
            self._renew(expires=0.0)
        except StorageError as error:
            self._notify(f"{self._uri} is not released and expires by itself: {error}")

    def check(self) -> None:
        """Renew the lease, so that it is certain that what is written next is written by its holder.

        Raises:
            LeaseLostError: when another holds it, or did.
            StorageError: when the store cannot be reached.
        """
        self._renew(time.time() + self._duration)
        if self._lost:
            raise LeaseLostError(self._lost)

    @property
    def _uri(self) -> str:
        return join(self._store.uri, self._key)

    def _acquire(self) -> None:
        seen: Holder | None = None
        since = time.monotonic()
        while True:
            present, etag = self._read()
            # A holder that has not renewed while this one watched for so long is gone, whatever its clock said.
            watched = present == seen and time.monotonic() - since > self._duration
            if present is None or present.expires <= time.time() or present.gone or watched:
                if self._take(present, etag):
                    return
            elif seen is None:
                seen, since = present, time.monotonic()
                self._notify(f"{self._store.uri} is held by {present}; waiting until that expires or is renewed")
            elif present != seen:
                raise LeaseHeldError(
                    f"{self._store.uri} is in use by {present}, and that process lives: it has just renewed its lease. "
                    "Two at a time would overwrite each other's files. Wait for its end, stop it, or use another "
                    f"place; {self._uri} may be deleted only when it is certain that it does not run"
                )
            self._stop.wait(self._duration / LOOKS)

    def _take(self, present: Holder | None, etag: str) -> bool:
        """Try to become the holder after ``present``; return whether no other was faster."""
        mine = replace(self._holder, fence=present.fence + 1 if present else 1, expires=time.time() + self._duration)
        try:
            if present is None:
                self._etag = self._store.write(self._key, _encoded(mine), if_absent=True)
            else:
                self._etag = self._store.write(self._key, _encoded(mine), if_match=etag)
        except PreconditionFailedError:
            return False
        self._holder = mine
        return True

    def _read(self) -> tuple[Holder | None, str]:
        """Return what is there with an etag that is not newer than it, so that a write on it cannot hit unseen."""
        info = self._store.head(self._key)
        if info is not None:
            with suppress(NotFoundError):
                content = self._store.read(self._key)
                try:
                    return Holder(**json.loads(content)), info.etag
                except (ValueError, TypeError):
                    raise StorageError(
                        f"{self._uri} is no lease; delete it when nothing uses {self._store.uri}"
                    ) from None
        return None, ""

    def _keep(self) -> None:
        """Renew until the end. Nothing ends this thread before, since the lease would be lost with it."""
        while not self._stop.wait(self._duration / RENEWALS) and not self._lost:
            try:
                self._renew(time.time() + self._duration)
            except Exception as error:
                self._notify(f"cannot renew {self._uri} yet, it is held by {self._holder}: {error}")

    def _renew(self, expires: float) -> None:
        with self._lock:
            if self._lost:
                return
            mine = replace(self._holder, expires=expires)
            try:
                self._etag = self._store.write(self._key, _encoded(mine), if_match=self._etag)
            except PreconditionFailedError:
                present, etag = self._read()
                if present is None or present.owner != mine.owner:
                    self._lost = self._loss(present)
                    return
                # An earlier write of this process was carried out although its answer was lost.
                self._etag = self._store.write(self._key, _encoded(mine), if_match=etag)
            self._holder = mine

    def _loss(self, present: Holder | None) -> str:
        by = f"it was taken over by {present}" if present else f"{self._uri} was deleted"
        return (
            f"this process no longer holds {self._store.uri}: {by}. It stops before it writes anything more; what it "
            "saved before is whole, and the holder goes on from it"
        )


def _encoded(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), indent=2).encode()


def _machine() -> str:
    """Return the boot of the kernel and the process namespace, which containers of one host name do not share."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return UNKNOWN


def _started(pid: int) -> str:
    """Return when the kernel started a process, in ticks since it booted; "ended" for one that is over."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return UNKNOWN
    state, *fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return "ended" if state in "ZX" else fields[18]
