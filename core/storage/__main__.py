"""``python -m core.storage ls URI`` and ``python -m core.storage cp SOURCE TARGET``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from core import cli
from core.storage.base import join
from core.storage.opening import open_store


def _body(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m core.storage", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="size and key of every object under URI, at any depth")
    ls.add_argument("uri")
    cp = commands.add_parser("cp", help="copy one object or file, in parallel parts")
    cp.add_argument("source")
    cp.add_argument("target", help="a URI or path; one that ends with / keeps the source's name")
    arguments = parser.parse_args(argv)
    if arguments.command == "ls":
        for found in open_store(arguments.uri).list():
            print(f"{found.size:>14} {found.key}")
    else:
        copy(arguments.source, arguments.target)


def main(argv: Sequence[str] | None = None) -> int:
    """List what lies under a URI, or copy one object; paths and ``s3://`` URIs are taken alike."""
    return cli.run(_body, argv)


def copy(source: str, target: str) -> None:
    """Copy one object, showing progress.

    Args:
        source: URI or path of an object.
        target: URI or path that it gets; one that ends with ``/`` is a folder.
    """
    if target.endswith("/"):
        target = join(target, source.rpartition("/")[2])
    source_uri, _, source_key = _absolute(source).rpartition("/")
    target_uri, _, target_key = _absolute(target).rpartition("/")
    if source_uri.startswith("/"):
        open_store(target_uri).upload(Path(source), target_key, progress=True)
    elif target_uri.startswith("/"):
        open_store(source_uri).download(source_key, Path(target), progress=True)
    else:
        with TemporaryDirectory(prefix="veriframe-") as folder:
            between = Path(folder) / "object"
            open_store(source_uri).download(source_key, between, progress=True)
            open_store(target_uri).upload(between, target_key, progress=True)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).absolute())


if __name__ == "__main__":
    sys.exit(main())
