import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.load import closed_loop, open_loop, post_picture
from serving.process import ServerProcess

QUEUE = 32
TIMES = 4
SECONDS = 30


class Watch:
    """Looks at the server twice a second, in a thread."""

    def __init__(self, probe: Any) -> None:
        self.ready: Counter[int] = Counter()
        self.most_in_flight = 0.0
        self._probe = probe
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(0.5):
            self.ready[self._probe.ready] += 1
            self.most_in_flight = max(self.most_in_flight, self._probe.metric("in_flight"))

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def test_at_four_times_capacity_each_request_is_answered_or_refused_at_once(
    slow_bundle: Path,
    start: Callable[..., ServerProcess],
    look: Callable[[ServerProcess], Any],
    picture: Callable[..., bytes],
) -> None:
    server = start(slow_bundle, queue=QUEUE)
    server.wait_until_ready()
    probe = look(server)
    pictures = [picture(60, 60, seed=seed) for seed in range(8)]
    scores = {}
    for data in pictures:
        answer = json.loads(probe.analyze(data).body)
        scores[answer["picture"]["sha256"]] = pytest.approx(answer["score"], abs=1e-5)
    requests = [post_picture(f"{server.url}/v1/analyze?mask=false", data) for data in pictures]
    capacity = closed_loop(server.url, requests, 16, seconds=3)
    assert set(capacity.counts) == {200}
    before = {code: probe.metric("requests_total", route="/v1/analyze", code=code) for code in ("200", "429")}
    refused_before, resident = probe.metric("rejected_total", reason="queue-full"), probe.resident

    with Watch(probe) as watch:
        load = open_loop(server.url, requests, TIMES * capacity.rate(), seconds=SECONDS)

    assert set(load.counts) == {200, 429}  # nothing lost, nothing cut off, nothing late
    assert len(load.outcomes) == int(TIMES * capacity.rate() * SECONDS)
    assert load.rate(200) > 0.7 * capacity.rate()  # refusing does not eat up what is there to serve
    assert load.quantile(0.5, 429) < load.quantile(0.5, 200) / 5
    for outcome in load.of(429):
        assert 1 <= int(outcome.headers["retry-after"]) <= 60
        assert json.loads(outcome.body)["reason"] == "queue-full"
    for outcome in load.of(200):
        answer = json.loads(outcome.body)
        assert answer["score"] == scores[answer["picture"]["sha256"]]

    assert set(watch.ready) == {200}
    assert QUEUE / 2 < watch.most_in_flight <= QUEUE
    for code in ("200", "429"):
        counted = probe.metric("requests_total", route="/v1/analyze", code=code) - before[code]
        assert counted == load.counts[int(code)]
    assert probe.metric("rejected_total", reason="queue-full") - refused_before == load.counts[429]
    assert probe.peak - resident < 100 * 2**20
    assert probe.metric("in_flight") == probe.metric("queue_depth") == 0
    assert probe.analyze(pictures[0]).status == 200
