"""``python -m components.extract_frames``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from components.extract_frames.extract import extract_frames
from components.extract_frames.recipe import ExtractRecipe
from core.cli import run
from core.settings import load


def _step(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m components.extract_frames",
        description="Turn a folder or an s3:// prefix of pictures or clips into a sample index and shards.",
    )
    parser.add_argument("--source", required=True, help="folder or s3:// prefix where the layout begins")
    parser.add_argument("--output", required=True, type=Path, help="folder for the sample index")
    parser.add_argument("--shards", required=True, help="folder or s3:// prefix for the shards")
    parser.add_argument("--recipe", required=True, type=Path, help="YAML or JSON file with the step's settings")
    parser.add_argument("--workers", type=int, help="processes (default: one a processor)")
    parser.add_argument("--work", type=Path, help="folder for unfinished work (default: .work in the output)")
    parser.add_argument("--chunks", default="", help="folder or s3:// prefix where finished chunks are kept")
    parser.add_argument(
        "--part", type=int, help="do only this share, from 0; without it, what is missing and the index"
    )
    parser.add_argument("--parts", type=int, default=1, help="number of shares that machines do side by side")
    given = parser.parse_args(argv)
    summary = extract_frames(
        given.source,
        given.output,
        given.shards,
        load(ExtractRecipe, given.recipe),
        workers=given.workers,
        work=given.work,
        chunks=given.chunks,
        part=given.part,
        parts=given.parts,
    )
    print(json.dumps(asdict(summary), indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; returns the exit status."""
    return run(_step, argv)


if __name__ == "__main__":
    sys.exit(main())
