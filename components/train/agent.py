"""``python -m components.train.agent``: torchrun, but for its exit status, which is that of the first process to fail.

torchrun's own is 1 whatever happened, so that on a node to which no SIGTERM came, a run that another node's SIGTERM
stopped could not be told from one that failed.
"""

import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun


def main() -> int:
    """Take torchrun's arguments; return the exit status."""
    try:
        torchrun()
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as error:
        return 128 + error.sigval
    return 0


if __name__ == "__main__":
    sys.exit(main())
