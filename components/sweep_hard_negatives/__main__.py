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
    parser.add_argument("--store", default="", help="folder or s3:// prefix where finished parts are kept")
    parser.add_argument("--part", type=int, help="do this one of the recipe's parts alone, from 0 (default: all)")
    given = parser.parse_args(argv)
    recipe = load_mapping(given.recipe) if given.recipe else {}
    arguments = {"cache": given.cache, "store": given.store, "part": given.part}
    summary = sweep_hard_negatives(given.dataset, given.model, given.output, recipe, **arguments)
    if summary is None:
        print(f"part {given.part} is in {given.store}")
        return
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
