"""What is known of a clip, what of it is refused, and what one of its frames is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class VideoLimits:
    """What is refused; the defaults are meant for clips, not for films.

    Attributes:
        max_bytes: of the file; None sets no limit.
        max_seconds: of the clip, by its header and by its timestamps.
        max_frames: of the clip, chosen or not.
        max_pixels: of one frame.
    """

    max_bytes: int | None = None
    max_seconds: float = 3600.0
    max_frames: int = 250_000
    max_pixels: int = 8192 * 4320


@dataclass(frozen=True)
class Sound:
    """One stream of sound: its index in the container, codec, samples a second, channels, and length in seconds."""

    stream: int
    codec: str
    rate: int
    channels: int
    seconds: float | None


@dataclass(frozen=True)
class VideoFacts:
    """What a clip's headers and its first frame say.

    Attributes:
        width: of a frame as it is shown (rotation applied), in px; so is ``height``.
        height: see there.
        seconds: length by the container; None where it does not say.
        frames: number by the container; None where it does not say.
        rate: mean frames a second by the container; None where it does not say.
        codec: FFmpeg's name of the codec, such as ``h264``.
        pixel_format: FFmpeg's name of the samples' format, such as ``yuv420p10le``.
        rotation: degrees, counter-clockwise, by which stored frames are turned to be shown.
        container: FFmpeg's name of the container's format, such as ``mov``.
        stream: index of the video stream that is read: the largest picture, then the one marked as default.
        video_streams: number of video streams, covers not counted.
        sound: the streams of sound.
    """

    width: int
    height: int
    seconds: float | None
    frames: int | None
    rate: float | None
    codec: str
    pixel_format: str
    rotation: int
    container: str
    stream: int
    video_streams: int
    sound: tuple[Sound, ...]


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        number: place in the order of display, from 0.
        time_ms: exact time from the clip's beginning.
        run: of ``ClipFrames`` the run it belongs to, from 0; 0 for all others.
        rgb: uint8 [H, W, 3], upright, without interlacing.
    """

    number: int
    time_ms: float
    run: int
    rgb: NDArray[np.uint8]
