"""The sweep: an operating point chosen on val, then the authentic pictures of train that reach the one of mining."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bundle.regions.verdict import OperatingPoint, decide
from core.errors import BadInputError, SettingsError
from core.files import sha256_file, write_text
from data.index import REJECTED_FILE, REPORT_FILE, SampleIndex, read_index, write_index
from data.labels import AUTHENTIC
from data.shards import ShardReader
from judging.choice import Choice
from judging.collect import TopPictures
from judging.members import find_checkpoint
from judging.overlays import encode_jpeg, heat_overlay
from judging.report import Figure
from tasks.regions.loading import load_member
from tasks.regions.mining import Mining, choose_mining, given_mining, mining_area
from tasks.regions.operating_point import choose_operating_point, point_of
from tasks.regions.prediction import Member, Prediction
from tasks.regions.settings import RegionsSweep
from tasks.regions.statistics import PixelStatistics
from tasks.regions.sweep_parts import Searcher
from tasks.regions.sweep_report import HardNegative, write_report
from tasks.task import SweepRequest, SweepSummary

LIST_FILE = "hard_negatives.txt"
RANKING_FILE = "ranking.jsonl"
POINT_FILE = "operating_point.json"
MINING_FILE = "mining.json"
CURVES_FILE = "curves.json"


def sweep(request: SweepRequest) -> SweepSummary | None:
    """Write the index of a model's hard negatives, and its curves and operating point on val.

    Finding none is an outcome like any other: the index and the list are then empty and the report says so. The output
    is an index folder with ``hard_negatives.txt`` (a sample id a line, hardest first), ``ranking.jsonl``,
    ``operating_point.json``, ``mining.json``, ``curves.json``, ``rejected.jsonl`` and ``report.html``. Of a part,
    nothing is written but what it leaves in the store, and None is returned.

    Raises:
        BadInputError: ``empty-class`` when val lacks a class, ``empty-split`` when train has no authentic pictures;
            others when dataset or model cannot be read.
        MismatchError: when the model cannot read the data set.
        SettingsError: when there is no such part, or it has no store to be left in.
    """
    settings = request.settings
    assert isinstance(settings, RegionsSweep)  # noqa: S101 - the task's own, as the component validates them
    _require_part(request)
    index = read_index(request.dataset)
    member = load_member(request.model, settings.inference.torch_device(), indexes=[index])
    train = index.where(split="train", label=AUTHENTIC)
    if not len(train):
        raise BadInputError("empty-split", f"{request.dataset} has no authentic pictures in train, so none can be hard")
    key = (index.sha256, sha256_file(find_checkpoint(request.model)[0]))
    reader, val = ShardReader(index.shards, request.cache), index.where(split="val")
    searcher = Searcher(member, reader, val, train, settings, request.store, key)
    with TemporaryDirectory(prefix="sweep-") as folder:
        if request.part is not None:
            searcher.part(request.part, Path(folder))
            return None
        searched = searcher.all_parts(Path(folder))
        choice = choose_operating_point(
            searched.val, max_authentic_fpr=settings.max_authentic_fpr, min_areas=settings.min_areas
        )
        mining, candidates = _choose_mining(searched.train, train, settings, point_of(choice))
    gallery = TopPictures(settings.gallery)
    found = _mine(searcher, candidates, member, mining, gallery)
    kept = found[: mining.count][: settings.limit]
    _write(request.output, index, kept, choice)
    counts = mining.to_json(len(found), len(kept), len(searched.train))
    write_text(request.output / MINING_FILE, json.dumps(counts, indent=2) + "\n")
    searcher.rejections.write(request.output / REJECTED_FILE)
    summary = SweepSummary(
        hard_negatives=len(kept),
        found=len(found),
        searched=len(searched.train),
        rejected=len(searcher.rejections),
        decision=choice.decision,
        meets_ceiling=choice.meets_ceiling,
    )
    write_report(request.output / REPORT_FILE, member.name, summary, choice, mining, kept, gallery.figures())
    return summary


def _require_part(request: SweepRequest) -> None:
    parts = request.settings.parts
    if request.part is not None and not (request.store and 0 <= request.part < parts):
        raise SettingsError(
            f"part {request.part} of {parts}: parts are numbered from 0, and need a store to be left in"
        )


def _choose_mining(
    searched: PixelStatistics, train: SampleIndex, settings: RegionsSweep, point: OperatingPoint
) -> tuple[Mining, SampleIndex]:
    """Choose from when on authentic pictures are hard negatives, and return the rows that may be."""
    scores = searched.image_scores(mining_area(settings, point))
    mining = given_mining(settings, point) if settings.mining_count is None else choose_mining(scores, settings, point)
    # Where a probability and the threshold differ by rounding alone, the map decides.
    reached = scores >= np.nextafter(np.float32(mining.point.threshold), np.float32(0))
    names = searched.table.column("sample_id").filter(pa.array(reached))
    keep = pc.is_in(train.table.column("sample_id"), names.combine_chunks())
    return mining, SampleIndex(train.table.filter(keep), train.spec, train.shards, train.sha256)


def _mine(
    searcher: Searcher, candidates: SampleIndex, member: Member, mining: Mining, gallery: TopPictures
) -> list[HardNegative]:
    """Return the pictures with false positives, hardest first."""
    found = []
    for picture in searcher.predict(candidates, "hard negatives", searcher.rejections):
        probability = picture.probabilities[member.name]
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
        gallery.offer(one.hardness, one.sample_id, partial(_draw, picture, probability, one, verdict.mask))
    return sorted(found, key=lambda one: (-one.hardness, one.sample_id))


def _draw(
    picture: Prediction, probability: NDArray[np.float32], one: HardNegative, marked: NDArray[np.bool_]
) -> Figure:
    caption = f"{one.media_id}: {100 * one.area:.1f} % at mean probability {one.confidence:.2f}"
    return Figure(encode_jpeg(heat_overlay(picture.rgb, probability, marked)), caption, "image/jpeg")


def _write(output: Path, index: SampleIndex, kept: Sequence[HardNegative], choice: Choice) -> None:
    names = pa.array([one.sample_id for one in kept], type=pa.string())
    table = index.table.take(pc.index_in(names, index.table.column("sample_id").combine_chunks()))
    write_index(output, table, index.spec, index.shards)
    write_text(output / LIST_FILE, "".join(f"{one.sample_id}\n" for one in kept))
    write_text(output / RANKING_FILE, "".join(json.dumps(asdict(one), sort_keys=True) + "\n" for one in kept))
    write_text(output / POINT_FILE, json.dumps(choice.to_json(), indent=2) + "\n")
    curves = {"curves": [curve.to_json() for curve in choice.curves]}
    write_text(output / CURVES_FILE, json.dumps(curves, allow_nan=False) + "\n")
