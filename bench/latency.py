"""Latency: each exported format against the eager network it was made from, on the same tiles and threads.

The network is the published one (FPN on EfficientNet-B2 with the logit gate) with random weights, which take as long as
trained ones, at 512 px. Both exports run as serving runs them: through ``bundle.open_runtime``, pixels in, logits
out. Eager runs the same normalisation and network in evaluation and inference mode. Runs alternate; a ratio is the
median over rounds of eager's seconds / the export's, so that what the machine does beside cancels out.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from bundle import (
    BUNDLE_FILE,
    CARD_FILE,
    FORMAT_FILES,
    Bundle,
    BundleFile,
    BundleMember,
    Run,
    VerifiedBundle,
    member_path,
    open_runtime,
    read_bundle,
)
from bundle.regions.verdict import OperatingPoint
from bundle.runtimes import member_metadata
from components.export.formats import Exported, example_pixels, write_onnx, write_torchscript
from core.files import sha256_file, write_bytes
from media.spec import ExtractionSpec, InputSpec
from models.inputs import Normalize
from models.registry import get_family

SPEC = InputSpec()
OPSET = 18
ROUNDS = {1: 7, 4: 3}  # by batch size
WARM_UP = 2  # TorchScript compiles in its second call
UNKNOWN = "0" * 64  # of what no checkpoint and no data set stand behind


def _network() -> Exported:
    family = get_family("forgery")
    torch.manual_seed(0)
    network = family.build(family.settings.model_validate({"weights": "random"}), SPEC.channels, pretrained=False)
    return Exported(Normalize.from_spec(SPEC), network).eval()


def _file(folder: Path, path: str) -> BundleFile:
    return BundleFile(path=path, sha256=sha256_file(folder / path), size=(folder / path).stat().st_size)


def _bundle(network: Exported, folder: Path) -> VerifiedBundle:
    """Write the network in both formats as a bundle of one member."""
    labels = get_family("forgery").class_names
    pixels = example_pixels(SPEC.channels, SPEC.size)
    metadata = member_metadata("bench", "b2", labels, SPEC.to_json(), UNKNOWN)
    write_torchscript(network, pixels, folder / member_path("b2", "torchscript"), metadata)
    write_onnx(network, pixels, folder / member_path("b2", "onnx"), metadata, OPSET)
    write_bytes(folder / CARD_FILE, b"# bench\n")
    point = OperatingPoint(threshold=0.5, min_area_fraction=0.0)
    member = BundleMember(
        name="b2",
        family="forgery",
        labels=labels,
        input=SPEC,
        weight=1.0,
        temperature=1.0,
        operating_point=point,
        checkpoint_sha256=UNKNOWN,
        files={kind: _file(folder, member_path("b2", kind)) for kind in FORMAT_FILES},
    )
    bundle = Bundle(
        name="bench",
        version="1",
        labels=labels,
        operating_point=point,
        extraction=ExtractionSpec(),
        members=(member,),
        card=_file(folder, CARD_FILE),
        dataset_sha256=UNKNOWN,
        git_sha="unknown",
    )
    write_bytes(folder / BUNDLE_FILE, bundle.to_document())
    return read_bundle(folder)


def _eager(network: Exported) -> Run:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels)).numpy())

    return run


def _seconds(run: Run, pixels: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    run(pixels)
    return time.perf_counter() - start


def measure() -> list[dict[str, object]]:
    """Time eager and each export in turns, after calls that are not counted, at each batch size."""
    items: list[dict[str, object]] = []
    threads = torch.get_num_threads()
    network = _network()
    with TemporaryDirectory(prefix="bench-latency-") as temporary:
        bundle = _bundle(network, Path(temporary))
        exports = {kind: open_runtime(bundle, kind, threads=threads)["b2"] for kind in FORMAT_FILES}
    runs = {"eager": _eager(network), **exports}
    for batch, rounds in ROUNDS.items():
        shape = (batch, SPEC.channels, SPEC.size, SPEC.size)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for run in [*runs.values()] * WARM_UP:
            run(pixels)
        timed = [{name: _seconds(run, pixels) for name, run in runs.items()} for _ in range(rounds)]
        items += [
            {
                "name": f"latency of {kind}, batch {batch}",
                "value": statistics.median(seconds[kind] for seconds in timed),
                "unit": "s",
                "against": f"eager PyTorch on {threads} thread(s), EfficientNet-B2, {SPEC.size} px",
                "ratio": statistics.median(seconds["eager"] / seconds[kind] for seconds in timed),
            }
            for kind in exports
        ]
    return items


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(), indent=2) + "\n")
