"""The sweep: an operating point chosen on val, then a pass over the authentic pictures of train."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bundle.regions.verdict import OperatingPoint, decide, image_score
from core.errors import BadInputError
from core.files import write_text
from data.index import REJECTED_FILE, REPORT_FILE, SampleIndex, read_index, write_index
from data.labels import AUTHENTIC
from data.shards import ShardReader
from judging.choice import Choice
from judging.collect import Rejections, TopPictures
from judging.overlays import encode_jpeg, heat_overlay
from judging.report import Figure
from tasks.regions.loading import load_member
from tasks.regions.mining import Mining, choose_mining, given_mining, mining_area
from tasks.regions.operating_point import choose_operating_point, point_of
from tasks.regions.prediction import Member, Prediction, predict_pictures
from tasks.regions.settings import RegionsSweep
from tasks.regions.statistics import collect_statistics
from tasks.regions.sweep_report import HardNegative, write_report
from tasks.task import SweepRequest, SweepSummary

LIST_FILE = "hard_negatives.txt"
RANKING_FILE = "ranking.jsonl"
POINT_FILE = "operating_point.json"
MINING_FILE = "mining.json"
CURVES_FILE = "curves.json"


def sweep(request: SweepRequest) -> SweepSummary:
    """Write the index of a model's hard negatives, and its curves and operating point on val.

    Finding none is an outcome like any other: the index and the list are then empty and the report says so. The output
    is an index folder with ``hard_negatives.txt`` (a sample id a line, hardest first), ``ranking.jsonl``,
    ``operating_point.json``, ``mining.json``, ``curves.json``, ``rejected.jsonl`` and ``report.html``.

    Raises:
        BadInputError: ``empty-class`` when val lacks a class, ``empty-split`` when train has no authentic pictures;
            others when dataset or model cannot be read.
        MismatchError: when the model cannot read the data set.
    """
    settings = request.settings
    assert isinstance(settings, RegionsSweep)  # noqa: S101 - the task's own, as the component validates them
    index = read_index(request.dataset)
    member = load_member(request.model, settings.judging.torch_device(), indexes=[index])
    train = index.where(split="train", label=AUTHENTIC)
    if not len(train):
        raise BadInputError("empty-split", f"{request.dataset} has no authentic pictures in train, so none can be hard")
    passes = _Sweep(member, ShardReader(index.shards, request.cache), settings)
    choice = passes.choose(index.where(split="val"))
    mining, candidates = passes.choose_mining(train, point_of(choice))
    found = passes.mine(candidates, mining)
    kept = found[: mining.wanted][: settings.limit]
    _write(request.output, index, kept, choice)
    counts = mining.to_json(len(found), len(kept), passes.searched)
    write_text(request.output / MINING_FILE, json.dumps(counts, indent=2) + "\n")
    passes.rejections.write(request.output / REJECTED_FILE)
    summary = SweepSummary(
        hard_negatives=len(kept),
        found=len(found),
        searched=passes.searched,
        rejected=len(passes.rejections),
        decision=choice.decision,
        meets_ceiling=choice.meets_ceiling,
    )
    write_report(request.output / REPORT_FILE, member.name, summary, choice, mining, kept, passes.gallery.figures())
    return summary


class _Sweep:
    """The two passes of one model."""

    def __init__(self, member: Member, reader: ShardReader, settings: RegionsSweep) -> None:
        self._member = member
        self._reader = reader
        self._settings = settings
        self.rejections = Rejections()
        self.gallery = TopPictures(settings.gallery)
        self.searched = 0

    def choose(self, val: SampleIndex) -> Choice:
        """Choose the operating point on val."""
        name, min_areas = self._member.name, self._settings.min_areas
        statistics = collect_statistics(self._predict(val, "val"), [name], min_areas)[name]
        return choose_operating_point(
            statistics, max_authentic_fpr=self._settings.max_authentic_fpr, min_areas=min_areas
        )

    def choose_mining(self, train: SampleIndex, point: OperatingPoint) -> tuple[Mining, SampleIndex]:
        """Choose from when on authentic pictures are hard negatives, and return the rows to look for them in.

        Where a number is wanted that takes a pass over all, and only the rows that reach the threshold are left.
        """
        if self._settings.wanted is None:
            return given_mining(self._settings, point), train
        area = mining_area(self._settings, point)
        scores = {
            picture.row["sample_id"]: image_score(picture.probabilities[self._member.name], area)
            for picture in self._predict(train, "scores of train authentics")
        }
        self.searched = len(scores)
        mining = choose_mining(np.array(list(scores.values())), self._settings, point)
        reached = [name for name, score in scores.items() if score >= mining.point.threshold]
        return mining, train.where(sample_id=reached)

    def mine(self, train: SampleIndex, mining: Mining) -> list[HardNegative]:
        """Return the pictures with false positives, hardest first."""
        found = []
        for number, picture in enumerate(self._predict(train, "train authentics"), start=1):
            self.searched = max(self.searched, number)
            probability = picture.probabilities[self._member.name]
            verdict = decide(probability, mining.point)
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
            self.gallery.offer(one.hardness, one.sample_id, partial(self._draw, picture, one, verdict.mask))
        return sorted(found, key=lambda one: (-one.hardness, one.sample_id))

    def _predict(self, index: SampleIndex, label: str) -> Iterator[Prediction]:
        return predict_pictures(
            [self._member],
            index,
            self._reader,
            **self._settings.judging.running(),
            progress=f"{self._member.name}: {label}",
            unreadable=self.rejections,
        )

    def _draw(self, picture: Prediction, one: HardNegative, marked: NDArray[np.bool_]) -> Figure:
        drawn = heat_overlay(picture.rgb, picture.probabilities[self._member.name], marked)
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
