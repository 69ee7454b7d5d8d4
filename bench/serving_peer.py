"""The server against LitServe: the same bundle, photographs, decoding, judging and clients, in the same run.

LitServe is tried in the ways its documentation advises for a processor, and the fastest is compared. Both servers run
at the same time and are loaded in turns; the one that is not loaded waits. A ratio is the median over the rounds.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import Load, closed_loop, open_loop
from bench.record import Ratio
from bench.serving import CLIENTS, requests_to, require_answers
from bench.serving_bundles import photographs, write_light, write_realistic
from bench.serving_litserve import Configuration, serving
from serving.process import ServerProcess

ROUNDS = 2
HALF_SECONDS = 10.0  # a round
THUMBNAIL = (32, 32)  # px, one tile of the light bundle


def measure() -> list[Ratio]:
    """Compare with networks of realistic size, and with one that costs next to nothing."""
    cores = len(os.sched_getaffinity(0))
    with TemporaryDirectory(prefix="bench-serving-peer-") as temporary:
        realistic = write_realistic(Path(temporary) / "realistic", 1, ("onnx",))
        light = write_light(Path(temporary) / "light")
        ways = [Configuration(cores, 1), Configuration(cores, 1, batch=4), Configuration(1, cores, batch=4)]
        fast = [Configuration(cores, 1, batch=8), *(Configuration(1, 1, 8, fast_queue) for fast_queue in (False, True))]
        return [
            *_compare("EfficientNet-Lite0", realistic, ways, photographs(), count=CLIENTS, half=True),
            *_compare("a network of one convolution", light, fast, photographs(*THUMBNAIL), count=2000, half=False),
        ]


def _compare(
    name: str, bundle: Path, ways: Sequence[Configuration], pictures: Sequence[bytes], *, count: int, half: bool
) -> list[Ratio]:
    best = max(ways, key=lambda way: _rate_of(way, bundle, pictures, count // 2))
    with ServerProcess(bundle) as server, serving(bundle, best) as peer:
        urls = {"ours": server.url, "theirs": peer}
        full: dict[str, list[Load]] = {side: [] for side in urls}
        for _ in range(ROUNDS + 1):
            for side, url in urls.items():
                full[side].append(_full(url, pictures, count))
        full = {side: loads[1:] for side, loads in full.items()}  # the first warms both up
        items = [
            _item(
                f"requests a second at {CLIENTS} clients, {name}",
                "1/s",
                best,
                full,
                lambda load: load.rate(),
                0.9 if half else None,
            ),
            _item(
                f"99th percentile at {CLIENTS} clients, {name}", "s", best, full, lambda load: load.quantile(0.99), None
            ),
        ]
        if half:
            # Of the lesser capacity, so that neither is overloaded.
            rate = min(statistics.median(load.rate() for load in loads) for loads in full.values()) / 2
            loads: dict[str, list[Load]] = {side: [] for side in urls}
            for _ in range(ROUNDS):
                for side, url in urls.items():
                    load = open_loop(url, requests_to(url, pictures), rate, seconds=HALF_SECONDS)
                    loads[side].append(require_answers(load))
            title = f"99th percentile at {rate:.1f} requests/s, half of the lesser capacity, {name}"
            items.append(_item(title, "s", best, loads, lambda load: load.quantile(0.99), 1.0))
    return items


def _rate_of(way: Configuration, bundle: Path, pictures: Sequence[bytes], count: int) -> float:
    with serving(bundle, way) as url:
        _full(url, pictures, len(pictures))
        return _full(url, pictures, count).rate()


def _full(url: str, pictures: Sequence[bytes], count: int) -> Load:
    return require_answers(closed_loop(url, requests_to(url, pictures), CLIENTS, count=count))


def _item(
    name: str,
    unit: str,
    way: Configuration,
    loads: dict[str, list[Load]],
    figure: Callable[[Load], float],
    goal: float | None,
) -> Ratio:
    ours, theirs = ([figure(load) for load in loads[side]] for side in ("ours", "theirs"))
    return Ratio(
        name,
        statistics.median(ours),
        unit,
        f"LitServe's {statistics.median(theirs):.4g} {unit}: {way}",
        [mine / other for mine, other in zip(ours, theirs, strict=True)],
        goal,
        at_most=unit == "s",
    )
