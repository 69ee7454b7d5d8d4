"""What every command line shares: how errors reach a person."""

import sys
from collections.abc import Callable, Sequence

from core.errors import VeriframeError


def run(body: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Call a command line's body and turn its known errors into one line on standard error.

    Args:
        body: parses ``argv`` and does the work.
        argv: arguments without the program's name; None takes them from the process.

    Returns:
        The exit status: 0, 1 after an error that was explained, 130 after an interrupt.
    """
    try:
        body(argv)
    except VeriframeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return 0
