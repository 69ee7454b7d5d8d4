"""What the server costs beside its speed: the time until it is ready, and memory."""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.bundles import TINY_SPECS, Tiny, write_bundle, write_tiny_bundle
from bench.load import closed_loop
from bench.record import Ratio
from bench.serving import requests_to, require_answers
from bench.serving_bundles import TILES, photographs, write_realistic
from media.spec import InputSpec
from serving.process import ServerProcess

STARTS = 3
CLIENTS = 8
FEW, MANY = 1_000, 10_000  # requests
LARGE = (6000, 4000)  # px
# What has to be done before anything can be judged, in a process of its own as the server is.
LOAD = """
import sys
from pathlib import Path
from bundle import open_networks, read_bundle
open_networks(read_bundle(Path(sys.argv[1])), "onnx")
"""


def measure() -> list[Ratio]:
    """Measure start, growth of memory over many requests, and memory of a large picture."""
    with TemporaryDirectory(prefix="bench-serving-costs-") as temporary:
        folder = Path(temporary)
        return [
            _start(write_realistic(folder / "realistic", 1, ("onnx",))),
            _growth(write_tiny_bundle(folder / "tiny")),
            _large_picture(_write_wide(folder / "wide")),
        ]


def _start(bundle: Path) -> Ratio:
    ours, theirs = [], []
    for _ in range(STARTS + 1):
        started = time.perf_counter()
        with ServerProcess(bundle):
            ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", LOAD, str(bundle)], check=True)
        theirs.append(time.perf_counter() - started)
    return Ratio(
        "start of the server until it is ready, EfficientNet-Lite0",
        statistics.median(ours[1:]),  # the first reads everything from the disk
        "s",
        "a process that imports the runtime, verifies the bundle and loads it",
        [mine / other for mine, other in zip(ours[1:], theirs[1:], strict=True)],
    )


def _growth(bundle: Path) -> Ratio:
    chance = np.random.default_rng(0)
    sizes = chance.integers(24, 128, size=(32, 2)).tolist()
    pictures = [picture for width, height in sizes for picture in photographs(width, height)]
    with ServerProcess(bundle) as server:
        requests = requests_to(server.url, pictures)
        require_answers(closed_loop(server.url, requests, CLIENTS, count=FEW))
        few = memory(server.pid, "VmRSS")
        require_answers(closed_loop(server.url, requests, CLIENTS, count=MANY - FEW))
        many = memory(server.pid, "VmRSS")
    name = f"memory of the server after {MANY:,} requests"
    return Ratio(name, many / 2**20, "MiB", f"after {FEW:,}", [many / few], goal=1.1, at_most=True)


def _large_picture(bundle: Path) -> Ratio:
    width, height = LARGE
    with ServerProcess(bundle) as server:
        requests = requests_to(server.url, photographs(width, height)[:1])
        before = memory(server.pid, "VmRSS")
        require_answers(closed_loop(server.url, requests, 1, count=1))
        peak = memory(server.pid, "VmHWM")
    pixels = width * height
    return Ratio(
        f"memory of a picture of {pixels / 1e6:.0f} megapixels at its peak, two networks, one with ELA",
        (peak - before) / pixels,
        "bytes/pixel",
        "its decoded pixels",
        [(peak - before) / (3 * pixels)],
    )


def memory(process: int, field: str) -> int:
    """Return a figure of ``/proc/<process>/status`` in bytes."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the kernel does not say {field}")
    return int(found.group(1)) * 1024


def _write_wide(folder: Path) -> Path:
    """Write the tiny bundle's networks for tiles of realistic size."""
    wide = {"size": TILES.size, "overlap": TILES.overlap}
    specs = {name: InputSpec(views={"tiles": spec.only.model_copy(update=wide)}) for name, spec in TINY_SPECS.items()}
    networks = {name: Tiny(spec.only.channels, 0).eval() for name, spec in specs.items()}
    return write_bundle(folder, "wide", networks, specs, weights=(0.5, 0.5), temperatures=(1.0, 1.0), formats=("onnx",))
