"""The sweep's report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from judging.choice import Choice
from judging.report import Cell, Figure, Row, Section, Table, render_report
from tasks.regions.curve_plots import area_plot, threshold_plot
from tasks.regions.mining import Mining
from tasks.regions.operating_point import point_of
from tasks.task import SweepSummary

LISTED = 50
HEADINGS = {
    "f1": "F1",
    "iou": "IoU",
    "authentic_fpr": "authentic pictures called forged",
    "authentic_fp_fraction": "authentic pixels marked",
}


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


def write_report(
    path: Path,
    model: str,
    summary: SweepSummary,
    choice: Choice,
    mining: Mining,
    hard_negatives: Sequence[HardNegative],
    gallery: Sequence[Figure],
) -> None:
    """Write ``report.html``: the curves and the point chosen on val, the hardest pictures and how many there are."""
    render_report(
        path, f"Hard negatives of {model}", [_point(choice), _found(summary, mining, hard_negatives, gallery)]
    )


def _point(choice: Choice) -> Section:
    point = point_of(choice)
    curve = next(c for c in choice.curves if c.min_area_fraction == point.min_area_fraction)
    rows: list[Row] = [[HEADINGS.get(name, name.replace("_", " ")), value] for name, value in choice.figures.items()]
    return Section(
        "Operating point on val",
        [
            f"Threshold {point.threshold:.3f}, at least {100 * point.min_area_fraction:g} % of the picture: "
            f"{choice.note}."
        ],
        [Table(["figure on val", "value"], rows)],
        [
            Figure(threshold_plot(f"At least {100 * point.min_area_fraction:g} % of the area", curve, point)),
            Figure(area_plot("F1 against false positives, by minimum area", choice.curves)),
        ],
    )


def _found(
    summary: SweepSummary, mining: Mining, hard_negatives: Sequence[HardNegative], gallery: Sequence[Figure]
) -> Section:
    share = f"{summary.found:,} of {summary.searched:,} authentic train pictures have false positives"
    kept = f"; the hardest {summary.hard_negatives:,} were kept" if summary.hard_negatives < summary.found else ""
    text = [f"{share}{kept}." if summary.found else f"No hard negatives: none of {summary.searched:,} was marked."]
    point = mining.point
    text.append(
        f"Mined at threshold {point.threshold:.3f}, from {100 * point.min_area_fraction:g} % of the picture on: "
        f"{mining.note}."
    )
    if summary.rejected:
        text.append(f"{summary.rejected:,} pictures could not be read; rejected.jsonl lists them with the reason.")
    rows: list[Row] = [
        [Cell(one.media_id, one.sample_id), 100 * one.area, one.confidence, one.hardness]
        for one in hard_negatives[:LISTED]
    ]
    columns = ["picture", "area, %", "mean probability", "area × probability"]
    caption = f"The hardest {len(rows)}, by area × probability"
    tables = [Table(columns, rows, caption)] if rows else []
    return Section("Hard negatives", text, tables, gallery=gallery)
