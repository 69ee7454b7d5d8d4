"""The training step's command line: ``python -m components.train``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.train.launching import must_launch
from components.train.recipe import TrainRecipe
from components.train.step import train
from core import cli
from core.settings import load


def _step(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.train", description="Train a model on a sample index.")
    parser.add_argument("--dataset", type=Path, required=True, help="sample index folder")
    parser.add_argument("--recipe", type=Path, required=True, help="training recipe, YAML or JSON")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model, its log and its report")
    parser.add_argument("--base", type=Path, help="checkpoint to fine-tune, or the folder that holds it")
    parser.add_argument("--hard-negatives", type=Path, help="index folder, or a file with one sample id a line")
    parser.add_argument("--state", help="folder or s3:// prefix of step checkpoints (default: OUTPUT.state)")
    parser.add_argument("--cache", type=Path, help="folder for shards fetched from S3")
    parser.add_argument("--upload", help="folder or s3:// prefix to copy the output to")
    given = parser.parse_args(argv)
    recipe = load(TrainRecipe, given.recipe)
    summary = train(
        given.dataset,
        given.output,
        recipe,
        base=given.base,
        hard_negatives=given.hard_negatives,
        state=given.state,
        cache=given.cache,
        upload=given.upload,
    )
    if summary is None or must_launch(recipe):  # another process prints it
        return
    figures = ", ".join(f"{name} {value:.4g}" for name, value in summary.metrics.items())
    print(f"{summary.checkpoint}: epoch {summary.epoch} of {summary.epochs}; val {figures}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; return the exit status."""
    return cli.run(_step, argv)


if __name__ == "__main__":
    sys.exit(main())
