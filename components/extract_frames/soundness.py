"""A check that Pillow cannot make: whether a JPEG's coded data is all there.

Where coded data is missing in the middle of a file, libjpeg fills the picture with grey and gives a warning, which
Pillow drops. OpenCV lets it go to standard error, where it can be caught in a process of one's own.
"""

import os
import sys

import cv2
import numpy as np

from media.errors import BadInputError

# Of libjpeg's warnings (jerror.h) those after which pixels are wrong. Others, such as bytes left over before a marker,
# are common in files of cameras and do no harm.
_HARMFUL = (
    "premature end of data segment",
    "bad Huffman code",
    "Premature end of JPEG file",
    "instead of RST",
    "Inconsistent progression",
)
_MESSAGES = 4096  # bytes of messages that are looked at; libjpeg gives its first warning only


def require_sound_jpeg(data: bytes) -> None:
    """Decode the coded data of a JPEG once, at an eighth of its size, and listen for libjpeg's warnings.

    Takes over standard error for the moment: what other threads write to it meanwhile is lost, so this is for workers.

    Args:
        data: a JPEG file whose header is known to be good.

    Raises:
        BadInputError: ``damaged``, with libjpeg's words.
    """
    sys.stderr.flush()
    messages, kept = os.memfd_create("messages"), os.dup(2)
    try:
        os.dup2(messages, 2)
        try:
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)
        finally:
            os.dup2(kept, 2)
        told = os.pread(messages, _MESSAGES, 0).decode("utf-8", "replace")
    finally:
        os.close(messages)
        os.close(kept)
    if any(words in told for words in _HARMFUL):
        raise BadInputError("damaged", f"a part of the file is missing or overwritten ({' '.join(told.split())})")
