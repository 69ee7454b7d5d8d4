"""``python -m components.publish``: make a bundle the current release, if the gate lets it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.publish.publish import publish, refusal
from components.publish.recipe import PublishRecipe
from core.cli import run
from core.settings import load


def step(argv: Sequence[str] | None) -> None:
    """Parse ``argv``, publish, and say what was decided."""
    parser = argparse.ArgumentParser(prog="python -m components.publish", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder that the export wrote")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that the evaluation wrote")
    parser.add_argument("--store", required=True, help="URI under which releases/ lies, such as s3://bucket/prefix")
    parser.add_argument("--output", type=Path, required=True, help="folder for decision.json")
    parser.add_argument("--recipe", type=Path, help="YAML; without one the defaults hold")
    arguments = parser.parse_args(argv)
    recipe = load(PublishRecipe, arguments.recipe) if arguments.recipe else PublishRecipe()
    decision = publish(arguments.bundle, arguments.evaluation, arguments.store, arguments.output, recipe)
    if decision.failed:
        print(refusal(decision))
    else:
        print(f"{decision.name} {decision.version}: {decision.decision} ({decision.pointer})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return run(step, argv)


if __name__ == "__main__":
    sys.exit(main())
