"""``python -m serving --bundle …``."""

import sys
from collections.abc import Sequence

from core import cli
from serving.server import serve
from serving.settings import read_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; the return value is the exit status."""
    return cli.run(lambda arguments: serve(read_settings(arguments)), argv)


if __name__ == "__main__":
    sys.exit(main())
