"""Compressions that faces have gone through before anyone looks at them, as functions of pixels alone."""

from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from media.ela import recompress

Rgb = NDArray[np.uint8]

JPEG_BLOCK = 8  # px


def shifted_jpeg(rgb: Rgb, quality: int, shift: tuple[int, int]) -> Rgb:
    """Compress as JPEG on a grid of blocks that does not begin at the picture's corner.

    A crop's blocks rarely lie where those of the picture lay that it was cut from, and so the traces of a second
    compression differ from those of a repeated one.

    Args:
        rgb: uint8 [H, W, 3], RGB.
        quality: libjpeg's scale, 1 to 100.
        shift: of the grid, down and to the right, each in 0..7 px.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    down, right = shift
    padded = cv2.copyMakeBorder(rgb, down, 0, right, 0, cv2.BORDER_REFLECT_101)
    compressed = recompress(np.asarray(padded, dtype=np.uint8), quality)
    return np.ascontiguousarray(compressed[down:, right:])


def h264_intra(rgb: Rgb, crf: int) -> Rgb:
    """Compress as a single key frame of H.264 and decode it again: 3 ms for 256×256 px.

    It is the real codec (libx264, preset ``veryfast``, 4:2:0), with its transform sizes, prediction and deblocking,
    none of which JPEG has. What only predicted frames show, errors that drift from one to the next, it does not make.

    Args:
        rgb: uint8 [H, W, 3], RGB.
        crf: constant rate factor, 0 (nearly lossless) to 51; FaceForensics++ has 23 and 40.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    height, width = rgb.shape[:2]
    # 4:2:0 has no odd sides.
    even = np.asarray(cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), dtype=np.uint8)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = even.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.thread_count = 1  # the loader's workers are the parallelism; one thread gives equal bytes everywhere
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
    frame.pts = 0
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    (decoded,) = [out for packet in (*packets, None) for out in decoder.decode(packet)]
    return np.ascontiguousarray(decoded.to_ndarray(format="rgb24")[:height, :width])
