"""``python -m bundle verify BUNDLE`` and ``… judge BUNDLE FILE``: check a bundle and try it on a file."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.reading import read_bundle
from bundle.runtimes import open_networks
from bundle.task import BUNDLE_TASKS, BundleTask
from core import cli
from core.errors import SettingsError
from core.files import read_bytes
from core.settings import Settings, validate


def _task_options() -> dict[str, str | None]:
    """Return the options of all tasks: which of them a bundle's has is known when it is read."""
    models = [BUNDLE_TASKS.get(name).file_options for name in BUNDLE_TASKS.names()]
    return {name: field.description for model in models for name, field in model.model_fields.items()}


def _options_of(task: BundleTask, arguments: argparse.Namespace) -> Settings:
    given = {name: value for name in _task_options() if (value := getattr(arguments, f"task_{name}")) is not None}
    for name in given:
        if name not in task.file_options.model_fields:
            raise SettingsError(f"--{name}: a bundle of the task {task.name} has no such option")
    return validate(task.file_options, given, "options")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bundle", description="Verify a bundle or judge with it.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check the hash of every file")
    judge = commands.add_parser("judge", help="judge one picture or video and print the verdict as JSON")
    for command in (verify, judge):
        command.add_argument("bundle", type=Path, help="folder with bundle.json")
    judge.add_argument("file", type=Path, help="a picture; for a bundle that judges video also a video")
    judge.add_argument("--runtime", default="onnx", help="onnx or torchscript")
    judge.add_argument("--device", default="cpu")
    for name, description in _task_options().items():
        judge.add_argument(f"--{name}", dest=f"task_{name}", metavar=name.upper(), help=description)
    return parser.parse_args(argv)


def _body(argv: Sequence[str] | None) -> None:
    arguments = _arguments(argv)
    bundle = read_bundle(arguments.bundle)
    document = bundle.document
    report: dict[str, Any] = {"bundle": {"name": document.name, "version": document.version, "sha256": bundle.sha256}}
    if arguments.command == "judge":
        data = read_bytes(arguments.file)
        networks = open_networks(bundle, arguments.runtime, device=arguments.device)
        task = BUNDLE_TASKS.get(document.task)
        report |= task.analyze_file(document, networks, data, _options_of(task, arguments))
    print(json.dumps(report, indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    return cli.run(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
