"""``python -m bundle verify BUNDLE`` and ``… judge BUNDLE FILE``: check a bundle and try it on a file."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle import BundleVerdict, VerifiedBundle, judge_picture, open_faces, open_runtime, read_bundle
from bundle.faces.analysis import judge_faces
from bundle.faces.report import verdict_document
from core import cli
from core.errors import SettingsError, StorageError
from core.files import write_bytes
from media.faces import FaceDetector, FacesFound, faces_of_picture, faces_of_video
from media.pictures import decode_picture, encode_png
from media.spec import EvenFrames, ExtractionSpec
from media.video import looks_like_video


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bundle", description="Verify a bundle or judge with it.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check the hash of every file")
    judge = commands.add_parser("judge", help="judge one picture or video and print the verdict as JSON")
    for command in (verify, judge):
        command.add_argument("bundle", type=Path, help="folder with bundle.json")
    judge.add_argument("file", type=Path, help="a picture; for a bundle that judges faces also a video")
    judge.add_argument("--runtime", default="onnx", help="onnx or torchscript")
    judge.add_argument("--device", default="cpu")
    judge.add_argument("--mask", type=Path, help="write the forged pixels to this PNG; where the bundle marks regions")
    return parser.parse_args(argv)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None


def _judge_regions(bundle: VerifiedBundle, arguments: argparse.Namespace) -> BundleVerdict:
    data = _read(arguments.file)
    run = open_runtime(bundle, arguments.runtime, device=arguments.device)
    return judge_picture(decode_picture(data), bundle.document, run)


def _judge_faces(bundle: VerifiedBundle, arguments: argparse.Namespace) -> dict[str, Any]:
    data = _read(arguments.file)
    runs = open_faces(bundle, arguments.runtime, device=arguments.device)
    found = _find_faces(data, bundle.document.extraction)
    return verdict_document(judge_faces(found, bundle.document, runs), found)


def _find_faces(data: bytes, extraction: ExtractionSpec) -> FacesFound:
    faces = extraction.faces
    assert faces is not None  # noqa: S101 - a bundle of classifiers has it
    detector = FaceDetector(faces.detector)
    if not looks_like_video(data):
        return faces_of_picture(decode_picture(data), faces, detector)
    if extraction.frames == "still":  # networks that learned from single pictures judge frames of the whole clip
        extraction = ExtractionSpec(decoder="pyav", frames=EvenFrames(), faces=faces, store="png")
    return faces_of_video(data, extraction, detector)


def _body(argv: Sequence[str] | None) -> None:
    arguments = _arguments(argv)
    bundle = read_bundle(arguments.bundle)
    identity = {"name": bundle.document.name, "version": bundle.document.version, "sha256": bundle.sha256}
    report: dict[str, Any] = {"bundle": identity}
    faces = bundle.document.task == "classification"
    if arguments.command == "judge" and faces:
        if arguments.mask is not None:
            raise SettingsError("--mask is for bundles that mark regions; this one judges faces")
        report |= _judge_faces(bundle, arguments)
    elif arguments.command == "judge":
        judged = _judge_regions(bundle, arguments)
        report |= judged.to_document()
        if arguments.mask is not None:
            write_bytes(arguments.mask, encode_png(judged.verdict.mask))
    print(json.dumps(report, indent=2))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    return cli.run(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
