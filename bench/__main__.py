"""``python -m bench [NAME …]``: run the benchmarks and write ``build/bench.json``."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import unknown_name
from core.files import write_text

NAMES = (
    "training",
    "reading",
    "latency",
    "extraction",
    "extraction_video",
    "transfer",
    "serving",
    "serving_peer",
    "serving_costs",
    "serving_faces",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, all when none is named; figures are written as they come."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all when left out")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="(%(default)s)")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in NAMES:
            parser.error(str(unknown_name("benchmark", name, NAMES)))
    items: list[dict[str, object]] = []
    for name in arguments.names or NAMES:
        measured = importlib.import_module(f"bench.{name}").measure()
        for item in measured:
            print(f"{item['name']}: {item['value']:.4g} {item['unit']}; {item['ratio']:.3f} × {item['against']}")
        items += measured
        write_text(arguments.output, json.dumps(items, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
