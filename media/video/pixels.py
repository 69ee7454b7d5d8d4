"""From a decoded frame to pixels as they are shown: 8 bits, RGB, upright, without interlacing."""

from typing import cast

import av.error
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from core.errors import BadInputError


def rotation_of(frame: VideoFrame) -> int:
    """Return the degrees, counter-clockwise and a multiple of 90, by which a frame is turned to be shown."""
    return round(frame.rotation / 90) % 4 * 90


def to_rgb(frame: VideoFrame, threads: int) -> NDArray[np.uint8]:
    """Convert a frame.

    Deeper samples are reduced to 8 bits. Of an interlaced frame the upper field is kept and its lines are doubled by
    the mean of their neighbours, which invents less than a blend of two moments. Pixels that are not square stay so.

    Returns:
        uint8 [H, W, 3], contiguous.

    Raises:
        BadInputError: ``damaged-video`` where the samples cannot be converted.
    """
    try:
        if frame.interlaced_frame and frame.height > 2:
            rgb = _double_lines(_pixels(_upper_field(frame), threads), frame.height)
        else:
            rgb = _pixels(frame, threads)
    except (av.error.FFmpegError, ValueError) as error:
        raise BadInputError("damaged-video", f"its frames cannot be converted to RGB: {error}") from error
    return np.ascontiguousarray(np.rot90(rgb, rotation_of(frame) // 90))


def _pixels(frame: VideoFrame, threads: int) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24", threads=threads), dtype=np.uint8)


def _upper_field(frame: VideoFrame) -> VideoFrame:
    # Fields are parted before colours are upsampled, which would mix two moments.
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    field, sink = graph.add("field", "type=top"), graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    source.push(frame)
    pulled = sink.pull()
    return cast(VideoFrame, pulled)


def _double_lines(field: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    full = np.empty((height, *field.shape[1:]), np.uint8)
    full[0::2] = field
    below = np.concatenate([field[1:], field[-1:]])[: height // 2]
    full[1::2] = ((field[: height // 2].astype(np.uint16) + below + 1) // 2).astype(np.uint8)
    return full
