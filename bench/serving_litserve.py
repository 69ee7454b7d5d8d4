"""The peer: LitServe around the same bundle, with the same decoding and judging, as a process of its own.

It gets the same form and answers with the same fields. Its documentation advises a worker a core on a CPU, batches
where they help, and the fast queue for many requests; which of these serves best here is for the caller to find out.
"""

import argparse
import base64
import hashlib
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import litserve
from fastapi import Request

from bench import processes
from bundle import MODEL, VerifiedBundle, open_networks, read_bundle
from bundle.regions.analysis import BundleVerdict, Ensemble, analyze_picture, blend_logits, tiles_view
from media.pictures import decode_picture, encode_png
from media.view import stack

READY_SECONDS = 120.0
Pixels = Any  # uint8 [H, W, 3]


@dataclass(frozen=True)
class Configuration:
    """How LitServe is set up.

    Attributes:
        workers: processes that run the bundle.
        threads: of a forward pass in each.
        batch: most requests that a worker takes at one time.
        fast_queue: whether its processes talk over ZeroMQ.
    """

    workers: int
    threads: int
    batch: int = 1
    fast_queue: bool = False

    def __str__(self) -> str:
        queue = ", fast queue" if self.fast_queue else ""
        return f"{self.workers} worker(s) × {self.threads} thread(s), batches of {self.batch}{queue}"


BATCH_SECONDS = 0.01  # that a worker waits for a full batch


class Detector(litserve.LitAPI):  # type: ignore[misc]  # has no types
    """``/v1/analyze`` as a LitServe API."""

    def __init__(self, folder: Path, threads: int, batch: int) -> None:
        timeout = BATCH_SECONDS if batch > 1 else 0.0
        super().__init__(max_batch_size=batch, batch_timeout=timeout, api_path="/v1/analyze")
        self._folder, self._threads, self._batch = folder, threads, batch

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the bundle in a worker."""
        cv2.setNumThreads(1)  # OpenCV's own would compete with the workers
        self._bundle: VerifiedBundle = read_bundle(self._folder)
        self._networks = open_networks(self._bundle, "onnx", threads=self._threads)

    def decode_request(self, request: Request) -> tuple[Pixels, str]:
        """Return the pixels and the file's digest; LitServe passes on the parsed form."""
        data: bytes = request["file"].file.read()  # type: ignore[index]
        return decode_picture(data), hashlib.sha256(data).hexdigest()

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Leave pictures of several sizes as a list."""
        return inputs

    def predict(self, decoded: Any) -> Any:
        """Judge one picture, or those of a batch in shared forward passes."""
        if self._batch == 1:
            rgb, digest = decoded
            return analyze_picture(rgb, self._bundle.document, self._networks), digest
        judged = self._analyze_all([rgb for rgb, _ in decoded])
        return list(zip(judged, [digest for _, digest in decoded], strict=True))

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Give every request its own."""
        return output

    def encode_response(self, output: tuple[BundleVerdict, str]) -> dict[str, Any]:
        """Return what the answer holds."""
        judged, digest = output
        height, width = judged.probability.shape
        document = self._bundle.document
        return {
            **judged.to_document(),
            "mask": base64.b64encode(encode_png(judged.verdict.mask)).decode(),
            "picture": {"width": width, "height": height, "sha256": digest},
            "bundle": {"name": document.name, "version": document.version, "sha256": self._bundle.sha256},
        }

    def _analyze_all(self, pictures: list[Pixels]) -> list[BundleVerdict]:
        ensembles = [Ensemble(self._bundle.document, rgb.shape[:2]) for rgb in pictures]
        for member in self._bundle.document.members:
            view = tiles_view(member.input)
            cuts = [view.tiles(rgb) for rgb in pictures]
            batch = stack(member.input.views, [{view.name: tile} for tiles, _ in cuts for tile in tiles])
            logits = self._networks[member.name][MODEL](batch)["logits"]
            start = 0
            for ensemble, (tiles, plan) in zip(ensembles, cuts, strict=True):
                part = logits[start : start + len(tiles)]
                ensemble.add(member, blend_logits(part, plan, member.temperature))
                start += len(tiles)
        return [ensemble.verdict() for ensemble in ensembles]


@contextmanager
def serving(bundle: Path, configuration: Configuration) -> Iterator[str]:
    """Serve a bundle with LitServe; yields the URL once every worker is ready.

    Raises:
        RuntimeError: with its words, when it is not ready in time.
    """
    (port,) = processes.free_ports(1)
    arguments = [str(bundle), str(port), str(configuration.workers), str(configuration.threads)]
    arguments += [str(configuration.batch), str(int(configuration.fast_queue))]
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory(prefix="bench-litserve-") as folder:
        log = Path(folder) / "log"
        process = processes.start([sys.executable, "-m", "bench.serving_litserve", *arguments], log)
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not _ready(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"LitServe did not become ready: {log.read_text(errors='replace')}")
                time.sleep(0.05)
            yield url
        finally:
            processes.kill(process)


def _ready(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310
        return True
    return False


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    for name in ("port", "workers", "threads", "batch", "fast_queue"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    server = litserve.LitServer(
        Detector(given.bundle, given.threads, given.batch),
        accelerator="cpu",
        workers_per_device=given.workers,
        fast_queue=bool(given.fast_queue),
        timeout=60,
    )
    server.run(host="127.0.0.1", port=given.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
