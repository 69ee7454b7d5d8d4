"""The sweep: an operating point chosen on val, then a pass over the authentic pictures of train."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from bundle.regions.verdict import OperatingPoint, judge
from components.sweep_hard_negatives.recipe import SweepRecipe
from components.sweep_hard_negatives.report import write_report
from core.errors import BadInputError
from core.files import write_text
from data.index import REJECTED_FILE, REPORT_FILE, SampleIndex, read_index, write_index
from data.shards import ShardReader
from judging.collect import Rejections, TopPictures, collect_statistics, judge_with
from judging.members import load_member
from judging.operating_point import Choice, choose_operating_point
from judging.overlays import encode_jpeg, heat_overlay
from judging.predict import Judged, Member
from judging.report import Figure

LIST_FILE = "hard_negatives.txt"
RANKING_FILE = "ranking.jsonl"
POINT_FILE = "operating_point.json"
CURVES_FILE = "curves.json"


@dataclass(frozen=True)
class HardNegative:
    """An authentic picture with false positives.

    Attributes:
        sample_id: of the index.
        media_id: of the index.
        area: falsely marked pixels / pixels, 0..1.
        confidence: mean probability of these pixels, 0..1.
        hardness: area × confidence.
    """

    sample_id: str
    media_id: str
    area: float
    confidence: float
    hardness: float


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep found.

    Attributes:
        hard_negatives: how many were written.
        found: how many there were, before the recipe's limit.
        searched: authentic train pictures judged.
        rejected: pictures that could not be read.
        point: the operating point chosen on val.
        meets_ceiling: whether it is under the ceiling on false positives.
    """

    hard_negatives: int
    found: int
    searched: int
    rejected: int
    point: OperatingPoint
    meets_ceiling: bool


def sweep_hard_negatives(
    dataset: Path, model: Path, output: Path, recipe: SweepRecipe, *, cache: Path | None = None
) -> SweepSummary:
    """Write the index of a model's hard negatives, and its curves and operating point on val.

    Finding none is an outcome like any other: the index and the list are then empty and the report says so.

    Args:
        dataset: index folder.
        model: model folder or checkpoint.
        output: folder to write: an index folder with ``hard_negatives.txt`` (a sample id a line, hardest first),
            ``ranking.jsonl``, ``operating_point.json``, ``curves.json``, ``rejected.jsonl`` and ``report.html``.
        recipe: what to look for.
        cache: folder for shards fetched from S3.

    Raises:
        BadInputError: ``empty-class`` when val lacks a class, ``empty-split`` when train has no authentic pictures;
            others when dataset or model cannot be read.
        MismatchError: when model and data set differ in how pixels were extracted.
    """
    index = read_index(dataset)
    device = recipe.judging.torch_device()
    member = load_member(model, device, indexes=[index])
    train = index.where(split="train", label=0)
    if not len(train):
        raise BadInputError("empty-split", f"{dataset} has no authentic pictures in train, so none can be hard")
    sweep = _Sweep(member, ShardReader(index.shards, cache), recipe)
    choice = sweep.choose(index.where(split="val"))
    found = sweep.mine(train, choice.point)
    kept = found[: recipe.limit]
    _write(output, index, kept, choice)
    sweep.rejections.write(output / REJECTED_FILE)
    summary = SweepSummary(
        hard_negatives=len(kept),
        found=len(found),
        searched=sweep.searched,
        rejected=len(sweep.rejections),
        point=choice.point,
        meets_ceiling=choice.meets_ceiling,
    )
    write_report(output / REPORT_FILE, member.name, summary, choice, kept, sweep.gallery.figures())
    return summary


class _Sweep:
    """The two passes of one model."""

    def __init__(self, member: Member, reader: ShardReader, recipe: SweepRecipe) -> None:
        self._member = member
        self._reader = reader
        self._recipe = recipe
        self.rejections = Rejections()
        self.gallery = TopPictures(recipe.gallery)
        self.searched = 0

    def choose(self, val: SampleIndex) -> Choice:
        """Choose the operating point on val."""
        name, min_areas = self._member.name, self._recipe.min_areas
        statistics = collect_statistics(self._judge(val, "val"), [name], min_areas)[name]
        return choose_operating_point(statistics, max_authentic_fpr=self._recipe.max_authentic_fpr, min_areas=min_areas)

    def mine(self, train: SampleIndex, point: OperatingPoint) -> list[HardNegative]:
        """Return the authentic pictures with false positives, hardest first."""
        threshold, area = self._recipe.mining_threshold, self._recipe.mining_min_area_fraction
        mining = OperatingPoint(
            threshold=point.threshold if threshold is None else threshold,
            min_area_fraction=point.min_area_fraction if area is None else area,
        )
        found = []
        for picture in self._judge(train, "train authentics"):
            self.searched += 1
            probability = picture.probabilities[self._member.name]
            verdict = judge(probability, mining)
            if not verdict.forged:
                continue
            confidence = float(probability[verdict.mask].mean(dtype=np.float64))
            one = HardNegative(
                sample_id=picture.row["sample_id"],
                media_id=picture.row["media_id"],
                area=verdict.forged_fraction,
                confidence=confidence,
                hardness=verdict.forged_fraction * confidence,
            )
            found.append(one)
            self.gallery.offer(one.hardness, one.sample_id, partial(self._draw, picture, one, mining))
        return sorted(found, key=lambda one: (-one.hardness, one.sample_id))

    def _judge(self, index: SampleIndex, label: str) -> Iterator[Judged]:
        return judge_with(
            self._recipe.judging,
            [self._member],
            index,
            self._reader,
            label=f"{self._member.name}: {label}",
            unreadable=self.rejections,
        )

    def _draw(self, picture: Judged, one: HardNegative, mining: OperatingPoint) -> Figure:
        drawn = heat_overlay(picture.rgb, picture.probabilities[self._member.name], mining)
        caption = f"{one.media_id}: {100 * one.area:.1f} % at mean probability {one.confidence:.2f}"
        return Figure(encode_jpeg(drawn), caption, "image/jpeg")


def _write(output: Path, index: SampleIndex, kept: Sequence[HardNegative], choice: Choice) -> None:
    rows = {sample: row for row, sample in enumerate(index.column("sample_id"))}
    table = index.table.take(pa.array([rows[one.sample_id] for one in kept], type=pa.int64()))
    write_index(output, table, index.spec, index.shards)
    write_text(output / LIST_FILE, "".join(f"{one.sample_id}\n" for one in kept))
    write_text(output / RANKING_FILE, "".join(json.dumps(asdict(one), sort_keys=True) + "\n" for one in kept))
    write_text(output / POINT_FILE, json.dumps(choice.to_json(), indent=2) + "\n")
    curves = {"curves": [curve.to_json() for curve in choice.curves]}
    write_text(output / CURVES_FILE, json.dumps(curves, allow_nan=False) + "\n")
