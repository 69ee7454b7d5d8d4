"""Leases in a folder and in a bucket of a real S3 server."""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import StorageError
from core.storage import PreconditionFailedError, Store, open_store
from core.storage.lease import Holder, Lease, LeaseHeldError, LeaseLostError

KEY = "lease.json"
PATIENCE = 60  # seconds


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(
        str(tmp_path / "place") if request.param == "file" else f"{request.getfixturevalue('bucket')}/place"
    )


def _holder(store: Store) -> Holder:
    return Holder(**json.loads(store.read(KEY)))


def _write(store: Store, holder: Holder) -> None:
    store.write(KEY, json.dumps(asdict(holder)).encode())


def _elsewhere(seconds: float) -> Holder:
    """Return a holder on another machine, of whose process nothing can be known."""
    return replace(
        Holder.of_this_process(), host="pod-7", machine="another", pid=4321, fence=5, expires=time.time() + seconds
    )


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_is_released_at_the_end_and_then_taken_at_once_with_a_larger_fence(store: Store) -> None:
    messages: list[str] = []
    for fence in (1, 2, 3):
        with Lease(store, KEY, notify=messages.append) as lease:
            assert lease.fence == fence == _holder(store).fence
            assert _holder(store).pid == os.getpid()
            assert _holder(store).expires > time.time()
            lease.check()
        assert _holder(store).expires == 0
    assert messages == []


def test_a_holder_that_lives_is_named_to_the_second(store: Store) -> None:
    messages: list[str] = []
    with Lease(store, KEY, duration=12) as first:
        with pytest.raises(
            LeaseHeldError, match=r"process \d+ on .*, until .* UTC.*Wait for its end, stop it"
        ) as caught:
            Lease(store, KEY, notify=messages.append, duration=12).__enter__()
        assert f"process {os.getpid()} on {_holder(store).host}" in str(caught.value)
        assert store.uri in str(caught.value)
        first.check()
    (line,) = messages
    assert "waiting until that expires or is renewed" in line


def test_a_lease_is_renewed_while_it_is_held(store: Store) -> None:
    with Lease(store, KEY, duration=2):
        first = _holder(store)
        _until(lambda: _holder(store).expires > first.expires + 2)
        assert replace(_holder(store), expires=0) == replace(first, expires=0)


def _hold(uri: str, ready: Any) -> None:
    with Lease(open_store(uri), KEY):
        ready.set()
        time.sleep(PATIENCE)


def test_a_process_of_this_machine_that_was_killed_is_succeeded_at_once(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(store.uri, ready))
    process.start()
    assert ready.wait(PATIENCE)
    killed = _holder(store)
    assert not killed.gone
    process.kill()
    process.join()
    messages: list[str] = []
    with Lease(store, KEY, notify=messages.append) as lease:
        assert lease.fence == 2
    assert messages == []


def test_a_process_that_has_ended_but_was_not_waited_for_is_gone() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert replace(Holder.of_this_process(), pid=pid, started="1").gone
    os.waitpid(pid, 0)
    assert replace(Holder.of_this_process(), pid=pid, started="1").gone


def test_another_process_of_the_same_number_is_not_taken_for_the_holder() -> None:
    current = Holder.of_this_process()
    assert not current.gone
    assert replace(current, started="1").gone
    assert not replace(current, started="1", machine="another").gone
    assert not replace(current, started="1", machine="").gone


def test_the_lease_of_a_holder_elsewhere_is_waited_for(store: Store) -> None:
    _write(store, _elsewhere(5.0))
    expires = _holder(store).expires
    messages: list[str] = []
    with Lease(store, KEY, notify=messages.append, duration=30) as lease:
        assert time.time() >= expires
        assert lease.fence == 6
    (line,) = messages
    assert "held by process 4321 on pod-7, until" in line


def test_a_holder_whose_clock_is_ahead_is_not_waited_for_longer_than_a_lease_lasts(store: Store) -> None:
    _write(store, _elsewhere(36_000))
    with Lease(store, KEY, notify=lambda line: None, duration=1) as lease:
        assert lease.fence == 6


def test_a_holder_that_was_succeeded_may_write_no_more_and_leaves_the_lease_alone(store: Store) -> None:
    with pytest.raises(LeaseLostError, match="taken over by process 4321 on pod-7"), Lease(store, KEY) as lease:
        lease.check()
        _write(store, _elsewhere(60))
        taken = store.read(KEY)
        lease.check()
    assert store.read(KEY) == taken


def test_a_holder_whose_lease_was_deleted_may_write_no_more(store: Store) -> None:
    with pytest.raises(LeaseLostError, match="was deleted"), Lease(store, KEY) as lease:
        store.delete(KEY)
        lease.check()
    assert store.head(KEY) is None


class Faulty:
    """A store whose next writes fail in one of the given ways."""

    def __init__(self, store: Store, *failures: Callable[[], None]) -> None:
        self._store = store
        self.failures = list(failures)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, key: str, data: bytes, **condition: Any) -> str:
        if "if_match" in condition and self.failures:
            fail = self.failures.pop(0)
            if fail is _lose_answer:
                self._store.write(key, data, **condition)
            fail()
        return self._store.write(key, data, **condition)


def _lose_answer() -> None:
    raise PreconditionFailedError("carried out already")


def _break() -> None:
    raise RuntimeError("not even an error of storage")


def _refuse() -> None:
    raise StorageError("the server is away")


def test_errors_do_not_end_the_renewal(store: Store) -> None:
    messages: list[str] = []
    faulty = Faulty(store, _break, _refuse, _break)
    with Lease(faulty, KEY, notify=messages.append, duration=2) as lease:
        first = _holder(store).expires
        _until(lambda: _holder(store).expires > first + 1)
        assert faulty.failures == []
        lease.check()
    assert [line.rpartition(": ")[2] for line in messages] == [
        "not even an error of storage", "the server is away", "not even an error of storage",
    ]  # fmt: skip


def test_a_renewal_whose_answer_was_lost_is_no_loss_of_the_lease(store: Store) -> None:
    faulty = Faulty(store, _lose_answer)
    with Lease(faulty, KEY) as lease:
        lease.check()
        assert faulty.failures == []
        lease.check()
    assert _holder(store).expires == 0


def test_what_is_no_lease_is_named(store: Store) -> None:
    store.write(KEY, b"<html>")
    with pytest.raises(StorageError, match=r"lease.json is no lease; delete it"):
        Lease(store, KEY).__enter__()


def test_of_many_that_come_at_once_one_at_a_time_holds_it(store: Store) -> None:
    inside = threading.Semaphore(1)
    fences = []

    def take(number: int) -> None:
        try:
            with Lease(store, KEY, notify=lambda line: None, duration=60) as lease:
                assert inside.acquire(blocking=False)
                fences.append(lease.fence)
                time.sleep(0.05)
                inside.release()
        except LeaseHeldError:
            pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take, range(6)))
    assert fences and fences == sorted(set(fences))
