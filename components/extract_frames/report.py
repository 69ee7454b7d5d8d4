"""The page that shows what an extraction took in and what it left out."""

import base64
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from components.extract_frames.indexing import Counts
from components.extract_frames.recipe import ExtractRecipe
from data.index import SPLITS
from judging.report import Cell, Figure, Section, Table, Value, render_report


def write_report(path: Path, recipe: ExtractRecipe, counts: Counts, reasons: Mapping[str, int]) -> None:
    """Write ``report.html``: counts by split, label, method and reason, and a contact sheet.

    Args:
        path: of the file.
        recipe: of the extraction.
        counts: of the index.
        reasons: rejected inputs by reason.
    """
    total = sum(counts.samples.values())
    rejected = sum(reasons.values())
    summary = (
        f"{total:,} samples in {counts.groups:,} groups, the largest of {counts.largest_group:,}; "
        f"{rejected:,} inputs left out. Groups are never parted by a split."
    )
    sections = [
        Section("Samples", [summary, *_leak(recipe, counts)], [_by_split(counts.samples), _by_method(counts.samples)]),
        Section(
            "Left out",
            ["Each has its line in rejected.jsonl."],
            [Table(["reason", "inputs"], Counter(reasons).most_common())],
        )
        if rejected
        else Section("Left out", ["Nothing."]),
        Section(
            "Contact sheet",
            ["Some of the samples; forged areas are outlined in red."],
            gallery=[Figure(base64.b64decode(data), caption, "image/jpeg") for caption, data in counts.previews],
        ),
    ]
    render_report(path, f"Extraction of {recipe.dataset}", sections)


def _leak(recipe: ExtractRecipe, counts: Counts) -> list[str]:
    """Say what lies on both sides where a group is not all that belongs together."""
    if recipe.splits.unit == "component":
        return []
    leak = counts.leak
    return [
        "Leak: divided medium by medium (splits.unit = medium), so that the same people and sources may be trained on "
        f"and judged. {leak.links:,} of {leak.of_links:,} of them lie in several splits, and {leak.samples:,} of the "
        f"{leak.of_samples:,} samples to be judged (val and test) show one. Figures on them are not figures on unseen "
        "people."
    ]


def _by_split(samples: Counter[tuple[str, str, str]]) -> Table:
    labels = sorted({label for _, label, _ in samples})
    splits = [split for split in SPLITS if any(key[0] == split for key in samples)]
    held = {
        (split, label): sum(n for key, n in samples.items() if key[:2] == (split, label))
        for split in splits
        for label in labels
    }
    return Table(["split", *labels], [[split, *(held[split, label] for label in labels)] for split in splits])


def _by_method(samples: Counter[tuple[str, str, str]]) -> Table:
    methods = sorted({(label, method) for _, label, method in samples})
    splits = [split for split in SPLITS if any(key[0] == split for key in samples)]
    rows: list[list[Value | Cell]] = [
        [method, label, *(samples[split, label, method] for split in splits)] for label, method in methods
    ]
    return Table(["method", "label", *splits], rows)
