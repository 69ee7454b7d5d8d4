"""The evaluation's command line: ``python -m components.evaluate``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.evaluate.evaluate import evaluate
from core import cli
from core.errors import SettingsError
from core.settings import load_mapping


def _step(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m components.evaluate", description="Evaluate a bundle and models side by side on test splits."
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        required=True,
        action="append",
        help="sample index folder whose test split is read; may be repeated, the decisive one first",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="GROUP=PATH",
        help="a model folder or checkpoint and the group it is evaluated in; may be repeated",
    )
    parser.add_argument("--bundle", type=Path, help="bundle that the export wrote, judged as it is served")
    parser.add_argument(
        "--store", default="", help="URI under which releases/ lies: the bundle's current release is judged too"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--recipe", type=Path, help="evaluation recipe, YAML or JSON (default: all defaults)")
    parser.add_argument("--fit-dataset", type=Path, help="index folder whose val split is chosen on")
    parser.add_argument("--cache", type=Path, help="folder for shards fetched from S3")
    given = parser.parse_args(argv)
    recipe = load_mapping(given.recipe) if given.recipe else {}
    summary = evaluate(
        given.dataset,
        _models(given.model),
        given.output,
        recipe,
        bundle=given.bundle,
        store=given.store,
        fit_dataset=given.fit_dataset,
        cache=given.cache,
    )
    print(
        f"{given.output}: {summary.evaluated} pictures or media evaluated, "
        f"{summary.rejected} pictures could not be read"
    )
    for group, figures in summary.groups.items():
        shown = (f"{name} {'undefined' if value is None else f'{value:.3f}'}" for name, value in figures.items())
        print(f"{group}: {', '.join(shown)}")


def _models(given: Sequence[str]) -> dict[str, list[Path]]:
    models: dict[str, list[Path]] = {}
    for text in given:
        group, separator, path = text.partition("=")
        if not (group and separator and path):
            raise SettingsError(f"--model {text!r}: expected GROUP=PATH, such as v3=models/high_recall")
        models.setdefault(group, []).append(Path(path))
    return models


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; return the exit status."""
    return cli.run(_step, argv)


if __name__ == "__main__":
    sys.exit(main())
