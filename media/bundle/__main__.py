"""``python -m media.bundle verify BUNDLE`` and ``… judge BUNDLE PICTURE``: check a bundle and try it on a picture."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from media import cli
from media.bundle import BundleVerdict, VerifiedBundle, judge_picture, open_runtime, read_bundle
from media.errors import StorageError
from media.files import write_bytes
from media.pictures import decode_picture, encode_png


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m media.bundle", description="Verify a bundle or judge with it.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check the hash of every file")
    judge = commands.add_parser("judge", help="judge one picture and print the verdict as JSON")
    for command in (verify, judge):
        command.add_argument("bundle", type=Path, help="folder with bundle.json")
    judge.add_argument("picture", type=Path)
    judge.add_argument("--runtime", default="onnx", help="onnx or torchscript")
    judge.add_argument("--device", default="cpu")
    judge.add_argument("--mask", type=Path, help="write the forged pixels to this PNG")
    return parser.parse_args(argv)


def _judge(bundle: VerifiedBundle, arguments: argparse.Namespace) -> BundleVerdict:
    try:
        data = arguments.picture.read_bytes()
    except OSError as error:
        raise StorageError(f"{arguments.picture} cannot be read: {error.strerror}") from None
    run = open_runtime(bundle, arguments.runtime, device=arguments.device)
    return judge_picture(decode_picture(data), bundle.document, run)


def _body(argv: Sequence[str] | None) -> None:
    arguments = _arguments(argv)
    bundle = read_bundle(arguments.bundle)
    identity = {"name": bundle.document.name, "version": bundle.document.version, "sha256": bundle.sha256}
    report: dict[str, Any] = {"bundle": identity}
    if arguments.command == "judge":
        judged = _judge(bundle, arguments)
        report |= judged.to_document()
        if arguments.mask is not None:
            write_bytes(arguments.mask, encode_png(judged.verdict.mask))
    print(json.dumps(report, indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    return cli.run(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
