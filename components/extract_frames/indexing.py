"""From the rows of all chunks to the index: groups and splits over light columns, then the rows themselves."""

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.extract_frames.chunk import rows_path
from components.extract_frames.plan import Plan
from components.extract_frames.recipe import ExtractRecipe
from core.files import atomic_write
from data.entries.entry import Rejection
from data.grouping import Hashes, group
from data.index import SPLITS, schema_for
from data.listing import stem
from data.official_splits import OfficialSplits
from data.splits import (
    NO_LEAK,
    Leak,
    SplitUnit,
    assign_beside_official,
    assign_by_fractions,
    find_leak,
    require_classes,
    require_no_overlap,
)

ROW_GROUP = 4096
PREVIEWS = 48


@dataclass
class Columns:
    """What grouping and splitting need of every sample, as plain numbers; some tens of bytes a sample."""

    key: "array[int]" = field(default_factory=lambda: array("Q"))  # the first 64 bits of the sample id
    label: "array[int]" = field(default_factory=lambda: array("b"))
    forged_fraction: "array[float]" = field(default_factory=lambda: array("d"))
    official: "array[int]" = field(default_factory=lambda: array("b"))
    hash_owner: "array[int]" = field(default_factory=lambda: array("q"))
    difference: "array[int]" = field(default_factory=lambda: array("Q"))
    frequency: "array[int]" = field(default_factory=lambda: array("Q"))
    link_owner: "array[int]" = field(default_factory=lambda: array("q"))
    link: "array[int]" = field(default_factory=lambda: array("Q"))
    copies: "array[int]" = field(default_factory=lambda: array("Q"))  # equal for samples of identical files
    medium: "array[int]" = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.key)

    def numpy(self, name: str) -> NDArray[Any]:
        """Return one column without copying it."""
        values: array[Any] = getattr(self, name)
        return np.frombuffer(values, dtype=values.typecode) if values else np.empty(0, values.typecode)

    def add(self, line: Mapping[str, Any], split: int) -> None:
        """Append a sample."""
        owner = len(self.key)
        row = line["row"]
        self.key.append(int(row["sample_id"][:16], 16))
        self.label.append(row["label"])
        self.forged_fraction.append(row["forged_fraction"])
        self.official.append(split)
        for difference, frequency in line["fingerprints"]:
            self.hash_owner.append(owner)
            self.difference.append(difference)
            self.frequency.append(frequency)
        for link in line["links"]:
            self.link_owner.append(owner)
            self.link.append(link)
        self.copies.append(line["copies"])
        self.medium.append(line["medium"])

    def connections(self, unit: SplitUnit) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return what keeps samples together: the owner of each link, int64, and the link, uint64."""
        everyone = np.arange(len(self), dtype=np.int64)
        owners, links = (
            (everyone, self.numpy("medium")) if unit == "medium" else (self.numpy("link_owner"), self.numpy("link"))
        )
        return np.concatenate([owners, everyone]), np.concatenate([links, self.numpy("copies")])


@dataclass(frozen=True)
class Assignment:
    """The group (as the number of its first sample) and the split (as position in ``SPLITS``) of every sample.

    A split of -1 leaves a sample out of the index. ``leak`` is what the splits have in common.
    """

    groups: NDArray[np.int64]
    splits: NDArray[np.int8]
    keys: NDArray[np.uint64]
    leak: Leak


@dataclass
class Counts:
    """What the report shows: samples by (split, label name, method), a few previews, and numbers of groups."""

    samples: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    previews: list[tuple[str, str]] = field(default_factory=list)  # caption, JPEG in base64
    groups: int = 0
    largest_group: int = 0
    leak: Leak = NO_LEAK


def collect(chunks: Sequence[str], folder: Path, plan: Plan, official: OfficialSplits | None) -> Columns:
    """Read the rows of all chunks once; what was rejected, or is in no official split, goes to the plan's rejections.

    Args:
        chunks: names, in order.
        folder: of their files.
        plan: takes the rejections.
        official: the splits of an official file, if there is one.
    """
    columns = Columns()
    for line in _lines(chunks, folder):
        if "rejected" in line:
            plan.reject(Rejection(**line["rejected"]))
            continue
        split = _official_split(line) if official is None else official.of(*_listed_as(line))
        columns.add(line, split)
        if official is not None and split < 0:
            plan.reject(Rejection(line["file"], "no-split", "the file of official splits does not name it"))
    return columns


def _official_split(line: Mapping[str, Any]) -> int:
    """Return the position of the split that the layout says, -1 where it says none."""
    return SPLITS.index(line["split"]) if line["split"] else -1


def _listed_as(line: Mapping[str, Any]) -> tuple[str, ...]:
    key = line["file"]
    file = key.rpartition("/")[2]
    return (line["row"]["media_id"], key, file, stem(file))


def _lines(chunks: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        with rows_path(folder, chunk).open(encoding="utf-8") as stream:
            for line in stream:
                yield json.loads(line)


def assign(columns: Columns, recipe: ExtractRecipe, chunks: Sequence[str], folder: Path) -> Assignment:
    """Group all samples and give every group its split.

    Raises:
        SplitError: when a group would lie in two splits, or a split would lack a class.
    """
    groups = group(
        len(columns),
        Hashes(columns.numpy("hash_owner"), columns.numpy("difference"), columns.numpy("frequency")),
        *columns.connections(recipe.splits.unit),
        distance=recipe.near_duplicates.distance,
    )
    keys, labels, classes = columns.numpy("key"), columns.numpy("label"), recipe.spec.classes
    fractions = columns.numpy("forged_fraction")
    if recipe.splits.all is not None:
        splits = np.full(len(columns), SPLITS.index(recipe.splits.all), np.int8)
    elif recipe.splits.file is not None:
        splits = columns.numpy("official")
        require_no_overlap(groups, splits, lambda numbers: _names(numbers, chunks, folder))
        require_classes(splits, labels, classes)
    elif recipe.splits.official and (columns.numpy("official") >= 0).any():
        official = columns.numpy("official")
        require_no_overlap(groups, official, lambda numbers: _names(numbers, chunks, folder))
        splits = assign_beside_official(groups, keys, labels, fractions, official, classes, recipe.splits)
        require_classes(splits, labels, classes)
    else:
        splits = assign_by_fractions(groups, keys, labels, fractions, classes, recipe.splits)
    return Assignment(groups, splits, keys, find_leak(columns.numpy("link_owner"), columns.numpy("link"), splits))


def reject_undivided(assignment: Assignment, chunks: Sequence[str], folder: Path, plan: Plan) -> None:
    """Note the files that the data set's own splits leave no place for; the plan's rejections take them."""
    if (assignment.splits >= 0).all():
        return
    rows = (line for line in _lines(chunks, folder) if "row" in line)
    for number, line in enumerate(rows):
        if assignment.splits[number] < 0:
            detail = "shares an id with a clip of an official split, or no split is left to put it in"
            plan.reject(Rejection(line["file"], "no-split", detail))


def _names(numbers: list[int], chunks: Sequence[str], folder: Path) -> dict[int, str]:
    samples = (line["row"]["media_id"] for line in _lines(chunks, folder) if "row" in line)
    return {number: name for number, name in enumerate(samples) if number in numbers}


def write_index(
    path: Path,
    assignment: Assignment,
    recipe: ExtractRecipe,
    shards: str,
    chunks: Sequence[str],
    folder: Path,
    bases: Mapping[str, tuple[str, int]],
) -> Counts:
    """Write ``index.parquet``, in row groups of a fixed number of rows, and return what the report shows.

    Args:
        path: of the file.
        assignment: groups and splits.
        recipe: of the extraction.
        shards: URI of the place of the shards.
        chunks: names, in order.
        folder: of their files.
        bases: shard and base offset of each chunk.
    """
    schema = schema_for(recipe.spec, shards)
    counts = _count_groups(assignment)
    each = max(1, PREVIEWS // max(1, len(chunks)))
    shown = set(np.linspace(0, len(chunks) - 1, min(PREVIEWS, len(chunks))).astype(int).tolist())
    rows: list[dict[str, Any]] = []
    number = 0
    with atomic_write(path) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for position, chunk in enumerate(chunks):
            previews: list[list[tuple[str, str]]] = [[] for _ in recipe.spec.classes]
            for line in _lines([chunk], folder):
                if "rejected" in line:
                    continue
                row = _complete(line["row"], assignment, number, *bases[chunk])
                number += 1
                if row["split"] is None:
                    continue
                counts.samples[row["split"], row["label_name"], row["method"]] += 1
                if position in shown and "preview" in line:
                    previews[row["label"]].append((f"{row['split']}: {line['file']}", line["preview"]))
                rows.append(row)
                if len(rows) == ROW_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    rows = []
            counts.previews += _in_turns(previews[::-1])[:each]  # what is authentic comes last
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return counts


def _complete(row: dict[str, Any], assignment: Assignment, number: int, shard: str, base: int) -> dict[str, Any]:
    split = int(assignment.splits[number])
    return row | {
        "group_id": f"{int(assignment.keys[assignment.groups[number]]):016x}",
        "split": SPLITS[split] if split >= 0 else None,
        "shard": shard,
        "offset": row["offset"] + base,
        "mask_offset": None if row["mask_offset"] is None else row["mask_offset"] + base,
    }


def _count_groups(assignment: Assignment) -> Counts:
    _, sizes = np.unique(assignment.groups[assignment.splits >= 0], return_counts=True)
    return Counts(groups=len(sizes), largest_group=int(sizes.max(initial=0)), leak=assignment.leak)


def _in_turns(lists: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return the first items of all lists, then the second of those that have one, and so on."""
    return [item for turn in zip_longest(*lists) for item in turn if item is not None]
