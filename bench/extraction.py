"""Extraction of 1,000 pictures: its time against the sum of its bare parts, its memory against that for 100."""

import hashlib
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from skimage import data

from bench.record import Ratio
from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.settings import load
from data.grouping import fingerprint
from media.pictures import decode_mask, encode_png, read_picture

COUNT = 1000
FEW = 100
HEIGHT, WIDTH = 480, 640
PAIRS = 3


def measure() -> list[Ratio]:
    """Time extraction and a plain loop in alternating pairs, and watch the memory of all processes of an extraction.

    The loop does, one picture after the other in one process, what the step cannot do without: read, decode, check,
    hash, write to a tar file; at the end it hashes that and writes a Parquet table. It groups nothing, survives no
    kill and writes no report.

    Returns:
        Two items of seconds (``ratio``: ours through the loop's), with a process a core and with one; and one of
        megabytes (``ratio``: for 1,000 pictures through for 100).
    """
    with TemporaryDirectory(prefix="bench-extraction-") as place:
        folder = Path(place)
        _lay(folder / "many", COUNT)
        _lay(folder / "few", FEW)
        (folder / "recipe.yaml").write_text("layout: forged-authentic-masks\ndataset: bench\n")
        cores = os.cpu_count() or 1
        return [
            *(_time(folder, workers) for workers in sorted({cores, 1}, reverse=True)),
            _memory(folder, cores),
        ]


def _time(folder: Path, workers: int) -> Ratio:
    ours, theirs = [], []
    for number in range(PAIRS):
        start = time.perf_counter()
        _extract(folder, "many", f"time-{workers}-{number}", workers)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        _bare_parts(folder / "many", folder / f"bare-{workers}-{number}")
        theirs.append(time.perf_counter() - start)
    return Ratio(
        f"extraction of {COUNT:,} pictures, {workers} worker(s)",
        statistics.median(ours),
        "s",
        "sum of its bare parts in one process",
        [mine / other for mine, other in zip(ours, theirs, strict=True)],
        goal=1.1 if workers == 1 else None,
        at_most=True,
    )


def _memory(folder: Path, workers: int) -> Ratio:
    peaks = {name: peak_memory(_command(folder, name, f"memory-{name}", workers)) for name in ("many", "few")}
    return Ratio(
        f"peak memory of extracting {COUNT:,} pictures, all processes",
        peaks["many"] / 2**20,
        "MiB",
        f"the same for {FEW} pictures",
        [peaks["many"] / peaks["few"]],
        goal=1.1,
        at_most=True,
    )


def _command(folder: Path, source: str, name: str, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "components.extract_frames", "--source", str(folder / source), "--workers", str(workers),
        "--output", str(folder / name), "--shards", str(folder / f"{name}-shards"),
        "--recipe", str(folder / "recipe.yaml"),
    ]  # fmt: skip


def _extract(folder: Path, source: str, name: str, workers: int) -> None:
    recipe = load(ExtractRecipe, folder / "recipe.yaml")
    extract_frames(str(folder / source), folder / name, str(folder / f"{name}-shards"), recipe, workers=workers)


def peak_memory(command: list[str]) -> int:
    """Run a command and return the sum of the greatest resident sizes of its processes, in bytes."""
    peaks: dict[int, int] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in (process.pid, *_children(process.pid)):
                with suppress(FileNotFoundError, ProcessLookupError, StopIteration):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    peak = next(line for line in lines if line.startswith("VmHWM:"))
                    peaks[pid] = int(peak.split()[1]) * 1024
            time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return sum(peaks.values())


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _bare_parts(source: Path, target: Path) -> None:
    """Do what an extraction does with each picture, and nothing else."""
    cv2.setNumThreads(1)
    target.mkdir()
    rows = []
    with tarfile.open(target / "shard.tar", "w") as archive:
        for path in sorted((source / "train_images").glob("*/*")):
            content = path.read_bytes()
            picture = read_picture(content)
            hashes = fingerprint(picture.rgb)
            name = hashlib.sha256(path.name.encode()).hexdigest()[:24]
            row: dict[str, Any] = {"name": name, "content": hashlib.sha256(content).hexdigest(), "hash": str(hashes)}
            row["offset"] = _append(archive, f"{name}.jpg", content)
            if path.parent.name == "forged":
                shape = picture.rgb.shape
                mask = decode_mask((source / f"train_masks/{path.stem}.npy").read_bytes(), (shape[0], shape[1]))
                row["mask_offset"] = _append(archive, f"{name}.mask.png", encode_png(mask))
                row["forged_fraction"] = float(mask.mean())
            rows.append(row)
    pq.write_table(pa.Table.from_pylist(rows), target / "index.parquet")
    with (target / "shard.tar").open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    (target / "shard.tar").rename(target / f"{digest}.tar")


def _append(archive: tarfile.TarFile, name: str, content: bytes) -> int:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    offset = archive.offset
    archive.addfile(entry, BytesIO(content))
    return offset


def _lay(root: Path, count: int) -> None:
    """Write ``count`` JPEG files of 640×480, every other one forged, with its mask."""
    for folder in ("train_images/forged", "train_images/authentic", "train_masks"):
        (root / folder).mkdir(parents=True)
    for number, rgb in enumerate(_pictures(count)):
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        label = ("authentic", "forged")[number % 2]
        cv2.imwrite(str(root / f"train_images/{label}/{number:05}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
        if label == "forged":
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.ellipse(mask, (100 + number % 400, 240), (20 + number % 60, 40), number, 0, 360, 1, -1)
            np.save(root / f"train_masks/{number:05}.npy", mask.astype(bool))


def _pictures(count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield crops, enlarged and with noise, of photographs that scikit-image ships."""
    rng = np.random.default_rng(0)
    photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.retina()]
    grain = rng.normal(0, 4, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = int(rng.integers(100, min(photograph.shape[:2])))
        top, left = (int(rng.integers(0, length - side + 1)) for length in photograph.shape[:2])
        crop = cv2.resize(
            photograph[top : top + side, left : left + side], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
        )
        y, x = rng.integers(0, 64, 2)
        yield np.clip(crop + grain[y : y + HEIGHT, x : x + WIDTH], 0, 255).astype(np.uint8)
