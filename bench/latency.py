"""Latency: each exported format against the eager network it was made from, on the same tiles and threads.

The network is the published one (FPN on EfficientNet-B2 with the logit gate) with random weights, which take as long as
trained ones, at 512 px. Both exports run as serving runs them: through ``bundle.open_networks``, pixels in, logits
out. Eager runs the same normalisation and network in evaluation and inference mode. Runs alternate; a ratio is the
median over rounds of eager's seconds / the export's, so that what the machine does beside cancels out.
"""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from bench.bundles import write_bundle
from bench.record import Ratio
from bundle import MODEL, Format, Run, open_networks, read_bundle
from components.export.networks import eager_run, take_apart
from media.spec import InputSpec
from media.views.tiles import TilesView
from models.family import FAMILIES
from models.network import Network

VIEW = TilesView()
SPEC = InputSpec(views={VIEW.name: VIEW})
FORMATS: tuple[Format, ...] = ("torchscript", "onnx")
ROUNDS = {1: 7, 4: 3}  # by batch size
WARM_UP = 2  # TorchScript compiles in its second call


def _network() -> Network:
    family = FAMILIES.get("forgery")
    torch.manual_seed(0)
    settings = family.settings.model_validate({"weights": "random"})
    return family.build(settings, SPEC, ("authentic", "forged"), pretrained=False)


def _seconds(run: Run, arrays: Mapping[str, NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    run(arrays)
    return time.perf_counter() - start


def measure() -> list[Ratio]:
    """Time eager and each export in turns, after calls that are not counted, at each batch size."""
    items: list[Ratio] = []
    threads = torch.get_num_threads()
    network = _network()
    with TemporaryDirectory(prefix="bench-latency-") as temporary:
        folder = write_bundle(
            Path(temporary), "bench", {"b2": network}, {"b2": SPEC}, weights=[1.0], temperatures=[1.0], formats=FORMATS
        )
        bundle = read_bundle(folder)
        exports = {kind: open_networks(bundle, kind, threads=threads)["b2"][MODEL] for kind in FORMATS}
    runs = {"eager": eager_run(take_apart(network, SPEC)[MODEL]), **exports}
    for batch, rounds in ROUNDS.items():
        pixels = np.random.default_rng(0).integers(0, 256, (batch, *VIEW.tensor.shape), dtype=np.uint8)
        arrays = {VIEW.name: pixels}
        for run in [*runs.values()] * WARM_UP:
            run(arrays)
        timed = [{name: _seconds(run, arrays) for name, run in runs.items()} for _ in range(rounds)]
        items += [
            Ratio(
                f"latency of {kind}, batch {batch}",
                statistics.median(seconds[kind] for seconds in timed),
                "s",
                f"eager PyTorch on {threads} thread(s), EfficientNet-B2, {VIEW.size} px",
                [seconds["eager"] / seconds[kind] for seconds in timed],
            )
            for kind in exports
        ]
    return items
