"""The sweep's command line: ``python -m components.sweep_hard_negatives``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.sweep_hard_negatives.sweep import sweep_hard_negatives
from core import cli
from core.settings import load_mapping


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
    recipe = load_mapping(given.recipe) if given.recipe else {}
    summary = sweep_hard_negatives(given.dataset, given.model, given.output, recipe, cache=given.cache)
    decision = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in summary.decision.model_dump().items())
    print(
        f"{given.output}: {summary.hard_negatives} hard negatives among {summary.searched} authentic train samples; "
        f"{decision}" + ("" if summary.meets_ceiling else "; no point on val is under the ceiling on false positives")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; return the exit status."""
    return cli.run(_step, argv)


if __name__ == "__main__":
    sys.exit(main())
