"""A worker process: ``python -m components.extract_frames.worker <descriptor of its connection>``.

Workers are programs of their own rather than forks or spawned copies of the caller, so that they hold nothing of it:
neither its threads and memory nor, in a pipeline, the import of kfp.
"""

import signal
import sys
import traceback
import warnings
from multiprocessing.connection import Connection

import cv2

from components.extract_frames.chunk import Job, extract_chunk
from core.errors import VeriframeError
from core.storage import open_store


def main(descriptor: int) -> None:
    """Receive the source's URI, then jobs, until the other side hangs up.

    Sends ``("at", position)`` before each entry, then ``("done", None)``, ``("failed", error for a person)`` or
    ``("broken", traceback)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt at the terminal is the parent's to handle
    # Pillow warns of odd EXIF and TIFF tags and of sizes; here limits are the recipe's, and what matters is an error.
    warnings.filterwarnings("ignore", module="PIL")
    cv2.setNumThreads(1)
    connection = Connection(descriptor)
    try:
        store = open_store(connection.recv())
        while True:
            job: Job = connection.recv()
            try:
                extract_chunk(job, store, lambda position: connection.send(("at", position)))
                connection.send(("done", None))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except VeriframeError as error:
                connection.send(("failed", error))
            except Exception:
                connection.send(("broken", traceback.format_exc()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


if __name__ == "__main__":
    main(int(sys.argv[1]))
