import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta

from components.train.heartbeat import Heartbeat

PATIENCE = 30  # seconds


class Counters:
    """A store of numbers; ``reachable`` plays the network."""

    def __init__(self) -> None:
        self.reachable = True
        self._lock = threading.Lock()
        self._numbers: defaultdict[str, int] = defaultdict(int)

    def add(self, key: str, amount: int) -> int:
        if not self.reachable:
            raise RuntimeError("Connection reset by peer")
        with self._lock:
            self._numbers[key] += amount
            return self._numbers[key]

    def set_timeout(self, timeout: timedelta) -> None:
        assert timeout.total_seconds() > 0


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _heartbeat(store: Counters, node: int, lost: list[str], limit: float) -> Heartbeat:
    return Heartbeat(store, node=node, nodes=3, interval=0.02, limit=limit, lost=lost.append)


def test_a_node_that_falls_silent_is_named_to_each_of_the_others_once():
    store, lost = Counters(), [[], [], []]
    first, second, third = (_heartbeat(store, node, lost[node], limit=1.0) for node in range(3))
    with first, third:
        with second:
            count = store.add("node/1", 0)
            _until(lambda: store.add("node/1", 0) > count + 3)
            assert lost == [[], [], []]
        _until(lambda: bool(lost[0] and lost[2]))
        count = store.add("node/1", 0)
        time.sleep(0.1)
        assert store.add("node/1", 0) == count
    assert lost[1] == []
    for messages in (lost[0], lost[2]):
        assert len(messages) == 1 and "nothing was heard of node 1 for 1 s" in messages[0]


def test_a_node_that_is_cut_off_loses_all_others():
    store, lost = Counters(), []
    with _heartbeat(store, 0, lost, limit=0.2):
        store.reachable = False
        _until(lambda: bool(lost))
    assert "nothing was heard of node 1, 2 for" in lost[0]


def test_a_short_silence_is_forgiven():
    store, lost = Counters(), []
    others = [_heartbeat(store, node, [], limit=PATIENCE) for node in (1, 2)]
    with _heartbeat(store, 0, lost, limit=PATIENCE), others[0], others[1]:
        store.reachable = False
        time.sleep(0.1)
        store.reachable = True
        count = store.add("node/0", 0)
        _until(lambda: store.add("node/0", 0) > count)
    assert lost == []
