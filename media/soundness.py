"""A check that decoding alone does not make: whether a JPEG's coded data is all there.

Where coded data is missing in the middle of a file, libjpeg fills the picture with grey and gives a warning, which
Pillow and OpenCV drop. A detector would then judge pixels that are in no photograph.
"""

import re

import simplejpeg

from core.errors import BadInputError

# Of libjpeg's warnings (jerror.h) those after which pixels are wrong. Bytes left over before a restart marker are data
# of a piece whose beginning is missing; left over before any other marker they are common in files of cameras.
_HARMFUL = re.compile(
    r"premature end of data segment|bad Huffman code|Premature end of JPEG file|instead of RST"
    r"|Inconsistent progression|extraneous bytes before marker 0xd[0-7]"
)


def require_sound_jpeg(data: bytes) -> None:
    """Decode the coded data of a JPEG once, at an eighth of its size, and listen for libjpeg's warnings.

    Args:
        data: a JPEG file whose header is known to be good.

    Raises:
        BadInputError: ``damaged``, with libjpeg's words.
    """
    try:
        simplejpeg.decode_jpeg(
            data, "GRAY", fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=1, strict=True
        )
    except ValueError as error:
        # Kinds of JPEG that TurboJPEG does not decode are no evidence against the file.
        if _HARMFUL.search(str(error)):
            raise BadInputError("damaged", f"a part of the file is missing or overwritten ({error})") from None
