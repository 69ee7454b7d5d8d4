"""Figures at full size: choosing, all figures with intervals, and comparisons, against a limit of time and of memory.

Synthetic rows, through the functions that an evaluation calls: 100,000 test pictures judged by two stages of four
members and their ensembles, and 100,000 clips of 30 faces each judged by two stages of three members; val is a fifth.
The rows lie in files, as the parts of a pass leave them. A process of its own reads them and works out the figures.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.record import Ratio
from judging.bootstrap import Bootstrap
from judging.tables import save_table
from tasks.faces.calibration import calibrate_media, choose_media_threshold
from tasks.faces.evaluation_figures import dataset_figures, forgetting
from tasks.faces.evaluation_groups import ChosenGroup, Part
from tasks.faces.media_scores import CLIPS, COLUMNS, FRAMES, MediaLogits
from tasks.regions.comparison import fpr_at_equal_recall, paired_differences
from tasks.regions.metrics import region_metrics
from tasks.regions.operating_point import choose_operating_point, point_of
from tasks.regions.statistics import PixelStatistics, StatisticsCollector
from tasks.task import ENSEMBLE

MEDIA = {"test": 100_000, "val": 20_000}
FACES = 30  # of a clip
CLIP = 8  # faces
STAGES = ("v3", "v4")
MEMBERS = {"regions": ("a", "b", "c", "d"), "faces": ("a", "b", "clips")}
SIDE = 256  # px, of the pictures whose histograms are repeated
POOL = 256  # such pictures a model
GROUP = 4  # media of a group, such as a photograph and what was made of it
METHODS = 4
SECONDS, BYTES = 600, 2 * 2**30  # the limits
SPLITS = tuple(MEDIA)
BOOTSTRAP = Bootstrap()


def measure() -> list[Ratio]:
    """Return the seconds and the peak memory of each task's figures, each against its limit."""
    items = []
    for task in MEMBERS:
        with TemporaryDirectory(prefix="bench-statistics-") as place:
            _run("write", task, place)
            found = json.loads(_run("figures", task, place))
        name = f"figures of {task} at {MEDIA['test']:,} test media, {found['models']} models"
        items += [
            Ratio(name, found["seconds"], "s", f"a limit of {SECONDS} s", [found["seconds"] / SECONDS], 1.0, True),
            Ratio(
                f"peak memory of {name}, {found['bytes_each']:.0f} bytes on disk a medium and model",
                found["peak"] / 2**20,
                "MiB",
                f"a limit of {BYTES / 2**20:.0f} MiB",
                [found["peak"] / BYTES],
                1.0,
                True,
            ),
        ]
    return items


def _run(what: str, task: str, folder: str) -> str:
    command = [sys.executable, "-m", "bench.statistics", what, task, folder]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _columns(split: str) -> tuple[dict[str, list[str]], NDArray[np.int64]]:
    """Return the columns of the media of a split, half of them manipulated by one of several methods, and labels."""
    numbers = range(MEDIA[split])
    labels = np.arange(MEDIA[split]) % 2
    columns = {
        "sample_id": [f"{split}{number:020}" for number in numbers],
        "media_id": [f"bench/{number % 2}/{split}/{number:08}.jpg" for number in numbers],
        "group_id": [f"bench/{split}/{number // GROUP}" for number in numbers],
        "dataset": ["bench"] * len(labels),
        "method": [f"method{number // 2 % METHODS}" if number % 2 else "" for number in numbers],
        "compression": [("c23", "c40")[number // 8 % 2] for number in numbers],
        "label_name": [("authentic", "manipulated")[number % 2] for number in numbers],
        "split": [split] * len(labels),
    }
    return columns, labels


def _write_regions(folder: Path) -> None:
    for split in SPLITS:
        columns, labels = _columns(split)
        for number, name in enumerate(_region_models()):
            pools = [_pool(np.random.default_rng((number, kind)), kind).table for kind in (0, 1)]
            drawn = np.random.default_rng((number, 2)).integers(0, POOL, len(labels)) + POOL * labels
            table = pa.concat_tables(pools).take(pa.array(drawn))
            for column in set(columns) & set(table.column_names):
                place = table.schema.get_field_index(column)
                table = table.set_column(place, table.schema.field(column), pa.array(columns[column]))
            save_table(folder / split / f"{name.replace('/', '-')}.arrow", table)


def _pool(generator: np.random.Generator, label: int) -> PixelStatistics:
    """Return the statistics of pictures whose probabilities are smooth, and higher where they are forged."""
    collector = StatisticsCollector()
    for _ in range(POOL):
        rough, blobs = (generator.normal(size=(SIDE, SIDE)).astype(np.float32) for _ in range(2))
        smooth = cv2.GaussianBlur(rough, (0, 0), float(generator.choice([3, 8, 20])))
        mask = cv2.GaussianBlur(blobs, (0, 0), 20)
        forged = (mask > 1.2 * mask.std()) & (label == 1)
        logits = smooth / smooth.std() * generator.uniform(0.5, 3) - generator.uniform(1, 6)
        logits += forged * generator.uniform(1, 9)
        row = dict.fromkeys(("sample_id", "media_id", "group_id", "method", "compression", "label_name", "split"), "")
        collector.add({**row, "label": label}, forged, (1 / (1 + np.exp(-logits))).astype(np.float32))
    return collector.build()


def _region_models() -> list[str]:
    return [f"{stage}/{name}" for stage in STAGES for name in (*MEMBERS["regions"], ENSEMBLE)]


def _region_figures(folder: Path) -> int:
    val, test = (
        {name: PixelStatistics.load(folder / split / f"{name.replace('/', '-')}.arrow") for name in _region_models()}
        for split in ("val", "test")
    )
    choices = {name: choose_operating_point(one, max_authentic_fpr=0.05) for name, one in val.items()}
    points = {name: point_of(choice) for name, choice in choices.items()}
    for name, one in test.items():
        region_metrics(one, points[name], bootstrap=BOOTSTRAP)
    for name in (*MEMBERS["regions"], ENSEMBLE):
        first, second = (f"{stage}/{name}" for stage in STAGES)
        paired_differences(test[first], points[first], test[second], points[second], BOOTSTRAP)
    first, second = (f"{stage}/{ENSEMBLE}" for stage in STAGES)
    for recall in (0.5, 0.7, 0.9):
        fpr_at_equal_recall(
            {name: val[name] for name in (first, second)},
            {name: test[name] for name in (first, second)},
            kind="image",
            recall=recall,
            min_area_fraction=points[first].min_area_fraction,
            bootstrap=BOOTSTRAP,
        )
    return len(test)


def _write_faces(folder: Path) -> None:
    for split in SPLITS:
        columns, labels = _columns(split)
        count = len(labels)
        ids = pa.array([f"{split}{number:016}" for number in range(count * FACES)])
        table = {name: pa.array(columns[name]) for name in COLUMNS}
        table |= {"label": pa.array(labels), "samples": _by_track(ids, count)}
        for number, (stage, name) in enumerate((s, m) for s in STAGES for m in MEMBERS["faces"]):
            generator = np.random.default_rng((number, len(split)))
            medium = generator.normal(1.5 * labels, 1)
            for prefix, each in ((FRAMES, FACES), (CLIPS, -(-FACES // CLIP) if name == "clips" else 0)):
                logits = np.repeat(medium, each) + generator.normal(size=count * each)
                table[f"{prefix}{stage}/{name}"] = _by_track(pa.array(logits), count)
        save_table(folder / split / "media.arrow", pa.table(table))


def _by_track(values: pa.Array, count: int) -> pa.Array:
    """Return values as lists of one track a medium; no track has a list where there are no values."""
    each = len(values) // count
    ones = np.arange(count + 1, dtype=np.int32)
    missing = None if each else pa.array(np.ones(count, dtype=np.bool_))
    return pa.ListArray.from_arrays(ones, pa.ListArray.from_arrays(ones * each, values, mask=missing))


def _face_figures(folder: Path) -> int:
    val, test = (MediaLogits.load(folder / split / "media.arrow") for split in ("val", "test"))
    chosen = []
    for stage in STAGES:
        keys = {name: f"{stage}/{name}" for name in MEMBERS["faces"]}
        fitted = calibrate_media(val, list(keys.values()))
        together = {ENSEMBLE: fitted.members} | {name: {key: fitted.members[key]} for name, key in keys.items()}
        parts = {
            name: Part(members, choose_media_threshold(val, members, rule="ceiling", max_authentic_fpr=0.05))
            for name, members in together.items()
        }
        chosen.append(ChosenGroup(stage, keys, parts, fitted.weights))
    for group in chosen:
        for part in group.parts.values():
            dataset_figures(test, part, BOOTSTRAP)
    forgetting(chosen, {"bench": test}, BOOTSTRAP)
    return sum(len(group.parts) for group in chosen)


WRITE: Mapping[str, Callable[[Path], None]] = {"regions": _write_regions, "faces": _write_faces}
FIGURES: Mapping[str, Callable[[Path], int]] = {"regions": _region_figures, "faces": _face_figures}


def _files(folder: Path) -> Iterator[int]:
    yield from (path.stat().st_size for path in (folder / "test").iterdir())


def main(what: str, task: str, folder: str) -> None:
    """Write the rows of a task, or work out its figures and print what that took."""
    if what == "write":
        WRITE[task](Path(folder))
        return
    start = time.perf_counter()
    models = FIGURES[task](Path(folder))
    found: dict[str, Any] = {
        "models": models,
        "seconds": time.perf_counter() - start,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "bytes_each": sum(_files(Path(folder))) / MEDIA["test"] / models,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
