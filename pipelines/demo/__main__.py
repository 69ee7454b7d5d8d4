"""``python -m pipelines.demo``: forge, run the pipeline, serve its bundle, judge two pictures, write a report."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import VerifiedBundle, fetch_release, read_pointer
from core.cli import run as run_command_line
from core.errors import MismatchError, VeriframeError
from core.files import write_text
from judging.overlays import encode_jpeg
from judging.report import Figure, Row, Section, Table, render_report
from media.forging.folder import forge_folder
from media.forging.settings import EdgeSettings, ForgeRequest, ForgeSettings, ProcessingSettings
from pipelines.demo.logs import run_logged, task_folders, task_seconds, task_title
from pipelines.demo.photographs import copy_photographs
from pipelines.demo.served import ServedVerdict, analyze_served
from pipelines.demo.verdicts import UnseenVerdict, analyze_unseen, unseen_pictures
from pipelines.resolution import load_pipeline
from tasks.evaluation import METRICS_FILE
from tasks.task import BUNDLE

PIPELINE = "forgery"
RECIPE = "forgery/demo"
# Small pictures for small machines; pairs of photographs as donors leave enough groups for three splits. The forgeries
# are easy ones, large with hard edges and no compression afterwards: realistic ones take longer to learn than a minute.
EASY = ForgeSettings(
    copy_move=0.15,
    splice=0.85,
    removal=0.0,
    area=(0.08, 0.4),
    colour_match_probability=0.0,
    noise_match_probability=0.0,
    heal_probability=0.0,
    edge=EdgeSettings(hard=1.0, antialiased=0.0, feathered=0.0, blur_probability=0.0),
    finish=ProcessingSettings(untouched=1.0),
    max_side=384,
)
REQUEST = ForgeRequest(seed=7, per_photo=8, authentic_per_photo=4, cluster=2, settings=EASY)
STAGES = {"v3": "v3", BUNDLE: "v4"}  # titles of the groups of the evaluation
FIGURES = ("f1", "iou", "authentic_fpr", "authentic_fp_fraction")


def _find(artifacts: Path, relative: str) -> Path:
    found = [folder / relative for folder in task_folders(artifacts) if (folder / relative).exists()]
    if not found:
        raise MismatchError(f"no task of {artifacts} left {relative}")
    return found[-1]


def _fetch_published(store: Path, folder: Path) -> VerifiedBundle:
    name = load_pipeline(PIPELINE, RECIPE).export.name
    if read_pointer(str(store), name) is None:
        raise MismatchError(f"{store} has no current release of {name}")
    return fetch_release(str(store), name, folder)


def summarize(
    seconds: Mapping[str, float],
    metrics: Mapping[str, Any],
    verdicts: Mapping[str, UnseenVerdict],
    served: Mapping[str, ServedVerdict],
    bundle: VerifiedBundle,
) -> dict[str, Any]:
    """Return what ``summary.json`` holds: seconds by task, figures of both stages, verdicts, and the bundle."""
    ensembles = {
        name: group["ensemble"]["datasets"][metrics["main_dataset"]] for name, group in metrics["groups"].items()
    }
    return {
        "status": "ok",
        "steps": dict(seconds),
        "stages": {title: {key: ensembles[name][key] for key in FIGURES} for name, title in STAGES.items()},
        "verdicts": {name: verdict.to_document() for name, verdict in verdicts.items()},
        "served": {name: verdict.to_document() for name, verdict in served.items()},
        "bundle": {"version": bundle.document.version, "sha256": bundle.sha256},
    }


def stage_table(summary: Mapping[str, Any]) -> Table:
    """Return the figures of both stages."""
    rows = [[title, *(figures[key] for key in FIGURES)] for title, figures in summary["stages"].items()]
    return Table(
        ["stage", "F1", "IoU", "authentic pictures called forged", "authentic pixels marked"],
        rows,
        caption="on the test split, at the operating points chosen on val; v4 is the bundle, judged as it is served",
    )


def _verdict_table(verdicts: Mapping[str, UnseenVerdict]) -> Table:
    rows: list[Row] = [[name, v.media_id, v.verdict, v.score, v.iou] for name, v in verdicts.items()]
    return Table(["truth", "picture", "verdict", "score", "IoU"], rows)


def _served_table(served: Mapping[str, ServedVerdict]) -> Table:
    rows: list[Row] = [[name, v.verdict, v.score, v.iou, v.response_seconds] for name, v in served.items()]
    return Table(["truth", "served verdict", "score", "IoU", "response in s"], rows)


def _report(
    path: Path,
    summary: Mapping[str, Any],
    verdicts: Mapping[str, UnseenVerdict],
    served: Mapping[str, ServedVerdict],
) -> None:
    overlays = [
        Figure(
            encode_jpeg(v.overlay),
            f"{name}: judged {v.verdict} with score {v.score:.3f}, IoU {v.iou:.3f}",
            "image/jpeg",
        )
        for name, v in verdicts.items()
    ]
    steps = Table(["task", "seconds"], list(summary["steps"].items()), digits=1)
    note = (
        "A few photographs, easy forgeries and a minute of training show that every part works; they make no detector. "
        "What is printed here is what was measured, whatever it is."
    )
    legend = "Left: the picture with the truth outlined in light blue. Right: heat where the bundle sees forgery, and "
    legend += "a red outline around what it marks when its verdict is forged."
    render_report(
        path,
        "Veriframe: demonstration",
        [
            Section("Stage v3 against v4", [note], [stage_table(summary)]),
            Section("Two pictures that nothing was trained on", [legend], [_verdict_table(verdicts)], overlays),
            Section(
                "The same two, sent to the server",
                ["The inference server loaded the published bundle and answered over HTTP on this machine."],
                [_served_table(served)],
            ),
            Section("Steps", tables=[steps]),
        ],
    )


def _print_table(table: Table) -> None:
    rows = [
        [f"{v:.{table.digits}f}" if isinstance(v, float) else "–" if v is None else str(v) for v in row]
        for row in table.rows
    ]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    for row in [list(table.columns), *rows]:
        sys.stdout.write(
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        )


def _demonstrate(output: Path) -> None:
    if output.exists():
        shutil.rmtree(output)
    photographs = copy_photographs(output / "photographs")
    sys.stdout.write(f"forging {len(photographs)} photographs\n")
    forged = forge_folder(photographs, output / "pictures", REQUEST, workers=2)
    sys.stdout.write(
        f"  {forged.forged} forged and {forged.authentic} authentic pictures\nrunning the forgery pipeline\n"
    )
    started = time.time()
    command = [sys.executable, "-m", "pipelines", "run", PIPELINE, "--recipe", RECIPE]
    run_logged([*command, "--source", str(output / "pictures"), "--workspace", str(output)], output / "run.log")
    (artifacts,) = (output / "artifacts").iterdir()
    bundle = _fetch_published(output / "store", output / "bundle")
    pictures = unseen_pictures(_find(artifacts, "dataset"))
    verdicts = analyze_unseen(pictures, bundle)
    sys.stdout.write("serving the bundle\n")
    served = analyze_served(pictures, output / "bundle")
    metrics = json.loads((_find(artifacts, "evaluation") / METRICS_FILE).read_text(encoding="utf-8"))
    recipe = load_pipeline(PIPELINE, RECIPE).recipe
    members, stages = list(recipe.members), list(recipe.stages)
    seconds = {task_title(task, members, stages): spent for task, spent in task_seconds(artifacts, started).items()}
    summary = summarize(seconds, metrics, verdicts, served, bundle)
    write_text(output / "summary.json", json.dumps(summary, indent=2) + "\n")
    _report(output / "report.html", summary, verdicts, served)
    sys.stdout.write("\n")
    _print_table(stage_table(summary))
    sys.stdout.write("\n")
    _print_table(_verdict_table(verdicts))
    sys.stdout.write("\n")
    _print_table(_served_table(served))
    sys.stdout.write(f"\n{output}/report.html shows the pictures; {output}/summary.json has these figures\n")


def _body(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="folder, emptied first (%(default)s)")
    output: Path = parser.parse_args(argv).output
    try:
        _demonstrate(output)
    except VeriframeError:
        write_text(output / "summary.json", json.dumps({"status": "failed"}) + "\n")
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; the return value is the exit status."""
    return run_command_line(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
