"""``python -m components.export``: write a bundle of one or several trained models."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.export.export import export
from core.cli import run
from core.settings import load_mapping


def step(argv: Sequence[str] | None) -> None:
    """Parse ``argv``, export, and print what was written."""
    parser = argparse.ArgumentParser(prog="python -m components.export", description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="index folder; its val split is what is fitted on")
    parser.add_argument(
        "--model", type=Path, required=True, action="append", help="model folder or checkpoint; repeat for an ensemble"
    )
    parser.add_argument("--output", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--recipe", type=Path, help="YAML; without one the defaults hold")
    parser.add_argument("--cache", type=Path, help="folder for fetched shards")
    arguments = parser.parse_args(argv)
    summary = export(
        arguments.dataset,
        arguments.model,
        arguments.output,
        load_mapping(arguments.recipe) if arguments.recipe else {},
        cache=arguments.cache,
    )
    print(f"{summary.folder}: {summary.bundle.name} {summary.bundle.version}, sha256 {summary.sha256}")
    print(f"operating point: {summary.choice.note}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return run(step, argv)


if __name__ == "__main__":
    sys.exit(main())
