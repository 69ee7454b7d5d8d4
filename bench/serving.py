"""The server against the runtime it runs: what HTTP, decoding, batching and building answers cost.

Photographs of 500 × 350 px, one tile each, go to the real server as forms, and come back as the whole answer with its
mask. The runtime is called directly in this process with as many forward passes at one time, threads and tiles a pass
as the server has, on tiles cut before. Both run in turns; a ratio is the median over the rounds, so that what the
machine does beside cancels out.
"""

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.load import Load, closed_loop, open_loop, post_picture
from bench.record import Ratio
from bench.serving_bundles import photographs, write_realistic
from bundle import MODEL, Format, Networks, VerifiedBundle, open_networks, read_bundle
from bundle.regions.analysis import analyze_picture, tiles_view
from media.pictures import decode_picture
from media.view import stack
from serving.process import ServerProcess
from serving.service import share_threads
from serving.settings import ServerSettings

CLIENTS = 64
LARGE_BATCH = 8
HALF_ROUNDS = 2
HALF_SECONDS = 15.0  # a round: about a hundred requests, so that its 99th percentile is the second longest
SINGLE_CALLS = 10  # a round
EVEN, POISSON = "evenly spaced", "Poisson"  # arrivals
Batches = list[tuple[str, dict[str, NDArray[Any]]]]  # member, its input arrays by name, [B, ...] each


def measure() -> list[Ratio]:
    """Measure throughput with one and two networks and with TorchScript, and how long a request takes at half of it."""
    items: list[Ratio] = []
    with TemporaryDirectory(prefix="bench-serving-") as temporary:
        one = write_realistic(Path(temporary) / "one", 1, ("onnx", "torchscript"))
        two = write_realistic(Path(temporary) / "two", 2, ("onnx",))
        with ServerProcess(one) as server:
            throughput, capacity = _throughput(server, one, "onnx", pictures=CLIENTS, rounds=3)
            items += [*throughput, *_half_load(server, one, capacity / 2)]
        with ServerProcess(two) as server:
            items += _throughput(server, two, "onnx", pictures=CLIENTS // 2, rounds=2)[0]
        with ServerProcess(one, runtime="torchscript") as server:
            items += _throughput(server, one, "torchscript", pictures=CLIENTS // 2, rounds=2)[0]
    return items


def require_answers(load: Load) -> Load:
    """Return ``load``, all of whose requests were answered with 200.

    Raises:
        RuntimeError: saying what became of them instead.
    """
    if set(load.counts) != {200}:
        raise RuntimeError(f"not every request was answered: {dict(load.counts)}")
    return load


def requests_to(url: str, pictures: Sequence[bytes]) -> list[bytes]:
    """Return a request for each picture."""
    return [post_picture(f"{url}/v1/analyze", picture) for picture in pictures]


def _throughput(
    server: ServerProcess, folder: Path, kind: Format, *, pictures: int, rounds: int
) -> tuple[list[Ratio], float]:
    """Return the items, and the pictures a second that the server can judge."""
    bundle = read_bundle(folder)
    passes, threads = share_threads(ServerSettings.model_validate({"bundle": str(folder)}))
    members = len(bundle.document.members)
    alike = open_networks(bundle, kind, threads=threads)
    alone = open_networks(bundle, kind, threads=threads * passes) if kind == "onnx" else None  # torch has one setting
    requests = requests_to(server.url, photographs())
    tiles = [tile for rgb in _decoded() for tile in tiles_view(bundle.document.members[0].input).tiles(rgb)[0]]
    singly, largely = _batches(bundle, tiles, pictures, 1), _batches(bundle, tiles, pictures, LARGE_BATCH)
    ours, same, large = [], [], []
    for turn in range(rounds + 1):
        ours.append(require_answers(closed_loop(server.url, requests, CLIENTS, count=pictures)).rate() * members)
        same.append(_direct(alike, singly, passes))
        if alone is not None:
            large.append(_direct(alone, largely, 1))
        if turn == 0:  # warms both up
            ours, same, large = [], [], []
    cases: list[tuple[str, list[float], float | None]] = [
        (f"{passes} direct calls at one time, {threads} thread(s) and one tile each", same, 0.9)
    ]
    if alone is not None:
        cases.append((f"one direct call at a time, {threads * passes} thread(s) and {LARGE_BATCH} tiles", large, None))
    items: list[Ratio] = [
        Ratio(
            f"throughput of the server at {CLIENTS} clients, {kind}, {members} network(s)",
            statistics.median(ours),
            "tiles/s",
            f"{against}, of the same runtime",
            [mine / direct for mine, direct in zip(ours, rates, strict=True)],
            goal,
        )
        for against, rates, goal in cases
    ]
    return items, statistics.median(ours) / members


def _half_load(server: ServerProcess, folder: Path, rate: float) -> list[Ratio]:
    """Time requests at ``rate`` against judging decoded pixels in this process."""
    bundle = read_bundle(folder)
    passes, threads = share_threads(ServerSettings.model_validate({"bundle": str(folder)}))
    runs = {count: open_networks(bundle, "onnx", threads=count) for count in sorted({threads, threads * passes})}
    requests, decoded = requests_to(server.url, photographs()), _decoded()
    slow: dict[str, list[float]] = {EVEN: [], POISSON: []}
    single: dict[int, list[float]] = {count: [] for count in runs}
    for turn in range(HALF_ROUNDS):
        for arrivals, found in slow.items():
            chance = random.Random(turn) if arrivals == POISSON else None
            load = require_answers(open_loop(server.url, requests, rate, seconds=HALF_SECONDS, chance=chance))
            found.append(load.quantile(0.99))
        for count, run in runs.items():
            calls = [_analysis_seconds(rgb, bundle, run) for rgb in (decoded * 2)[: SINGLE_CALLS + 1]][1:]
            single[count].append(statistics.median(calls))
    return [
        Ratio(
            f"99th percentile of a request at half of the capacity ({rate:.1f}/s, {arrivals})",
            statistics.median(found),
            "s",
            f"judging decoded pixels in process on {count} thread(s), median",
            [mine / direct for mine, direct in zip(found, single[count], strict=True)],
            goal=2.0 if arrivals == EVEN and count == threads * passes else None,
            at_most=True,
        )
        for arrivals, found in slow.items()
        for count in single
    ]


def _decoded() -> list[NDArray[np.uint8]]:
    return [decode_picture(picture) for picture in photographs()]


def _batches(bundle: VerifiedBundle, tiles: Sequence[NDArray[np.uint8]], count: int, size: int) -> Batches:
    """Stack ``count`` tiles for every member, all of which take the same input."""
    many = [tiles[number % len(tiles)] for number in range(count)]
    views = bundle.document.members[0].input.views
    stacked = [
        stack(views, [{"tiles": tile} for tile in many[start : start + size]]) for start in range(0, count, size)
    ]
    return [(member.name, batch) for batch in stacked for member in bundle.document.members]


def _direct(runs: Mapping[str, Networks], batches: Batches, passes: int) -> float:
    """Return the tiles a second of direct calls."""
    with ThreadPoolExecutor(passes) as pool:
        started = time.perf_counter()
        list(pool.map(lambda one: runs[one[0]][MODEL](one[1]), batches))
        return sum(len(batch["tiles"]) for _, batch in batches) / (time.perf_counter() - started)


def _analysis_seconds(rgb: NDArray[np.uint8], bundle: VerifiedBundle, networks: Mapping[str, Networks]) -> float:
    started = time.perf_counter()
    analyze_picture(rgb, bundle.document, networks)
    return time.perf_counter() - started
