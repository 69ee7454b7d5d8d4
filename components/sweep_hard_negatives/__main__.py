"""The sweep's command line: ``python -m components.sweep_hard_negatives``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.sweep_hard_negatives.recipe import SweepRecipe
from components.sweep_hard_negatives.sweep import sweep_hard_negatives
from core import cli
from core.settings import load


def _step(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m components.sweep_hard_negatives",
        description="Find the authentic training pictures that a model takes for forged.",
    )
    parser.add_argument("--dataset", type=Path, required=True, help="sample index folder")
    parser.add_argument("--model", type=Path, required=True, help="model folder or checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="index folder to write")
    parser.add_argument("--recipe", type=Path, help="sweep recipe, YAML or JSON (default: all defaults)")
    parser.add_argument("--cache", type=Path, help="folder for shards fetched from S3")
    given = parser.parse_args(argv)
    recipe = load(SweepRecipe, given.recipe) if given.recipe else SweepRecipe()
    summary = sweep_hard_negatives(given.dataset, given.model, given.output, recipe, cache=given.cache)
    print(
        f"{given.output}: {summary.hard_negatives} hard negatives among {summary.searched} authentic train pictures; "
        f"threshold {summary.point.threshold:.3f}, minimum area {100 * summary.point.min_area_fraction:g} %"
        + ("" if summary.meets_ceiling else f"; no point on val is under the ceiling {recipe.max_authentic_fpr:g}")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; return the exit status."""
    return cli.run(_step, argv)


if __name__ == "__main__":
    sys.exit(main())
