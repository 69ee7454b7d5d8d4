"""``python -m bundle verify BUNDLE`` and ``… judge BUNDLE FILE``: check a bundle and try it on a file."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.reading import read_bundle
from bundle.runtimes import open_networks
from bundle.task import BUNDLE_TASKS
from core import cli
from core.files import read_bytes


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
    judge.add_argument("--mask", type=Path, help="write the forged pixels to this PNG; where the bundle marks regions")
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
        report |= task.analyze_file(document, networks, data, mask=arguments.mask)
    print(json.dumps(report, indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    return cli.run(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
