"""``python -m bench [NAME …]``: run the benchmarks and write ``build/bench.json``."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.record import Ratio
from core.errors import unknown_name
from core.files import write_text

NAMES = (
    "training",
    "reading",
    "ranges",
    "latency",
    "int8",
    "extraction",
    "extraction_video",
    "statistics",
    "transfer",
    "serving",
    "serving_peer",
    "serving_costs",
    "serving_faces",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, all when none is named; figures are written as they come.

    Returns 1 when a goal was missed by more than its ratio spread over the rounds; what was is listed at the end.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all when left out")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="(%(default)s)")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in NAMES:
            parser.error(str(unknown_name("benchmark", name, NAMES)))
    items: list[Ratio] = []
    for name in arguments.names or NAMES:
        started = time.perf_counter()
        measured: list[Ratio] = importlib.import_module(f"bench.{name}").measure()
        for item in measured:
            print(item.line(), flush=True)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        items += measured
        write_text(arguments.output, json.dumps([item.to_json() for item in items], indent=2) + "\n")
    missed = [item for item in items if item.verdict == "missed"]
    if missed:
        print("goals missed:", *(item.line() for item in missed), sep="\n  ")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
