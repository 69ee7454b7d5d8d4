"""The command line: python -m media.forging --photos DIR --output DIR."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core import cli
from core.processors import processors
from core.settings import load, merge, validate
from media.forging.folder import find_photos, forge_folder
from media.forging.settings import KINDS, ForgeRequest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m media.forging",
        description="Make forgeries with exact masks from authentic photographs.",
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of authentic photographs, searched in depth")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write, in the layout forged-authentic-masks"
    )
    parser.add_argument("--request", type=Path, help="YAML file of the request; the options below override it")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--per-photo", type=int, help="forgeries of each photograph")
    parser.add_argument("--authentic-per-photo", type=int, help="authentic pictures of each photograph")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="only these kinds; default: all")
    parser.add_argument("--max-side", type=int, help="longest side of the pictures in px; default: 1600")
    parser.add_argument("--workers", type=int, default=processors(), help="processes; default: one a processor")
    return parser


def _request(options: argparse.Namespace) -> ForgeRequest:
    settings: dict[str, object] = {}
    if options.kinds:
        settings |= {kind.replace("-", "_"): 0.0 for kind in KINDS if kind not in options.kinds}
    if options.max_side is not None:
        settings["max_side"] = options.max_side
    given = {name: getattr(options, name) for name in ("seed", "per_photo", "authentic_per_photo")}
    overlay = {name: value for name, value in given.items() if value is not None} | {"settings": settings}
    base = load(ForgeRequest, options.request) if options.request else ForgeRequest()
    return validate(ForgeRequest, merge(base.model_dump(), overlay), "the request")


def _body(argv: Sequence[str] | None) -> None:
    options = _parser().parse_args(argv)
    summary = forge_folder(find_photos(options.photos), options.output, _request(options), workers=options.workers)
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary.kinds.items())
    sys.stdout.write(
        f"{options.output}: {summary.forged} forged ({kinds}), {summary.authentic} authentic, "
        f"{summary.rejected} photographs set aside\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Forge a folder of photographs; returns the exit status."""
    return cli.run(_body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
