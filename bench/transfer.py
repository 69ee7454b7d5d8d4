"""256 MB to S3 and back: this project's storage layer against AWS's own tools, on one SeaweedFS server."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from bench.record import Ratio
from bench.seaweed import running
from core.files import sha256_file
from core.storage import open_store

SIZE = 256 * 2**20
PAIRS = 3

Transfer = Callable[[], object]


def measure() -> list[Ratio]:
    """Time both directions in alternating pairs.

    Whole processes are compared with whole processes (``python -m core.storage cp`` with ``aws s3 cp``), start-up
    included on both sides; and, without any start-up, calls within one process with boto3's own transfers.

    Returns:
        An item a direction and peer: ``value`` is our median in MiB/s, ``ratio`` the median over the pairs of the
        peer's seconds through ours.
    """
    with (
        running() as server,
        TemporaryDirectory(prefix="bench-transfer-") as folder,
        mock.patch.dict(os.environ, server.environment),
    ):
        return _measure(server.bucket(), Path(folder))


def _measure(bucket: str, folder: Path) -> list[Ratio]:
    source, ours, theirs = folder / "source", folder / "ours", folder / "theirs"
    source.write_bytes(os.urandom(SIZE))
    uri = f"{bucket}/object"
    python = [sys.executable, "-m", "core.storage", "cp"]
    aws = [str(Path(sys.executable).with_name("aws")), "s3", "cp", "--no-progress"]
    store, client, name = open_store(bucket), _client(), bucket.removeprefix("s3://")
    cases: list[tuple[str, str, Transfer, Transfer]] = [
        ("s3 upload of 256 MB", "aws s3 cp, whole process on both sides",
         lambda: _run([*python, str(source), uri]), lambda: _run([*aws, str(source), f"{uri}-peer"])),
        ("s3 download of 256 MB", "aws s3 cp, whole process on both sides",
         lambda: _run([*python, uri, str(ours)]), lambda: _run([*aws, uri, str(theirs)])),
        ("s3 upload of 256 MB, in process", "boto3 upload_file",
         lambda: store.upload(source, "object"), lambda: client.upload_file(str(source), name, "object-peer")),
        ("s3 download of 256 MB, in process", "boto3 download_file, which does not wait for the disk",
         lambda: store.download("object", ours), lambda: client.download_file(name, "object", str(theirs))),
    ]  # fmt: skip
    items = [_pairs(*case) for case in cases]
    if not sha256_file(source) == sha256_file(ours) == sha256_file(theirs):
        raise RuntimeError("what came back from S3 is not what was sent")
    return items


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _pairs(name: str, against: str, ours: Transfer, peer: Transfer) -> Ratio:
    seconds: dict[Transfer, list[float]] = {ours: [], peer: []}
    for turn in range(PAIRS + 1):
        for transfer in (ours, peer) if turn % 2 else (peer, ours):
            start = time.perf_counter()
            transfer()
            seconds[transfer].append(time.perf_counter() - start)
    pairs = list(zip(seconds[ours], seconds[peer], strict=True))[1:]  # the first warms the caches
    rate = SIZE / 2**20 / statistics.median(mine for mine, _ in pairs)
    return Ratio(name, rate, "MiB/s", against, [theirs / mine for mine, theirs in pairs], goal=1.0)
