"""The times of all frames of a clip, known before one of them is chosen."""

from array import array
from dataclasses import dataclass, field

import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from core.errors import BadInputError
from media.video.container import require_frames, require_seconds
from media.video.facts import VideoLimits

# Codecs of which a packet may hold a frame that is never shown, or half of one: their packets cannot be counted.
_HIDDEN = frozenset({"vp8"})
# Containers of broadcasts, where packets get lost; what is damaged by that is found when it is decoded.
_LOSSY = frozenset({"mpegts"})


@dataclass
class Packets:
    """All packets of the video stream, in their order, as plain numbers; ``-1`` stands for a place that is unknown."""

    pts: "array[int]" = field(default_factory=lambda: array("q"))
    position: "array[int]" = field(default_factory=lambda: array("q"))
    key: bytearray = field(default_factory=bytearray)
    shown: bytearray = field(default_factory=bytearray)
    timed: bool = True  # whether every packet has a time of its own


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip.

    Attributes:
        pts: time of each frame in the stream's time base, ascending.
        keys: numbers of the frames that decode alone, ascending.
        packets: where they come from; None where packets cannot be trusted and frames were counted by decoding all.
    """

    pts: "array[int]"
    keys: "array[int]"
    packets: Packets | None


def scan(container: InputContainer, video: VideoStream, limits: VideoLimits) -> Timeline | None:
    """Read all packets without decoding one; a hundredth of the cost of decoding them.

    Returns:
        The timeline, or None where the packets' times do not tell which frames there are.

    Raises:
        BadInputError: ``truncated-video`` where the clip ends before its end, ``no-frames``, ``too-many-frames``,
            ``too-long``.
    """
    packets = Packets()
    try:
        for packet in container.demux(video):
            if not packet.size:
                continue
            if packet.is_corrupt and container.format.name not in _LOSSY:
                raise BadInputError("truncated-video", "a packet is not whole: the file is cut off or damaged")
            packets.pts.append(0 if packet.pts is None else packet.pts)
            packets.timed &= packet.pts is not None
            packets.position.append(-1 if packet.pos is None else packet.pos)
            packets.key.append(packet.is_keyframe)
            packets.shown.append(not packet.is_discard)
            require_frames(len(packets.pts), limits)
    except av.error.FFmpegError as error:
        raise BadInputError("truncated-video", f"it cannot be read to its end: {error}") from error
    if not packets.pts:
        raise BadInputError("no-frames", "its video stream holds no frame")
    if video.codec_context.name in _HIDDEN or not packets.timed or not any(packets.key):
        return None
    # What is shown before the first keyframe cannot be decoded: recordings of broadcasts begin so.
    first = min(pts for pts, key in zip(packets.pts, packets.key, strict=True) if key)
    times = sorted(pts for pts, shown in zip(packets.pts, packets.shown, strict=True) if shown and pts >= first)
    if not times or len(set(times)) < len(times):
        return None
    _require_length(times[0], times[-1], video, limits)
    alone = {pts for pts, key in zip(packets.pts, packets.key, strict=True) if key}
    keys = (number for number, pts in enumerate(times) if pts in alone)
    return Timeline(array("q", times), array("q", keys), packets)


def count(container: InputContainer, video: VideoStream, limits: VideoLimits) -> Timeline:
    """Decode all frames from where the container stands, and keep their times.

    Raises:
        BadInputError: ``damaged-video`` where a frame cannot be decoded, ``no-frames``, ``too-many-frames``,
            ``too-long``.
    """
    times, keys = array("q"), array("q")
    try:
        for frame in container.decode(video):
            if frame.key_frame:
                keys.append(len(times))
            times.append(_pts(frame.pts, times, video))
            require_frames(len(times), limits)
    except av.error.FFmpegError as error:
        raise BadInputError("damaged-video", f"frame {len(times)} cannot be decoded: {error}") from error
    if not times:
        raise BadInputError("no-frames", "no frame of its video stream can be decoded")
    _require_length(times[0], times[-1], video, limits)
    return Timeline(times, keys, None)


def _pts(pts: int | None, earlier: "array[int]", video: VideoStream) -> int:
    """Return a frame's time; where it has none, that of the frame before and the mean duration of one."""
    if pts is not None:
        return pts
    rate, base = video.average_rate or video.guessed_rate, video.time_base
    step = round(1 / (rate * base)) if rate and base else 1
    return earlier[-1] + step if earlier else 0


def _require_length(first: int, last: int, video: VideoStream, limits: VideoLimits) -> None:
    if video.time_base is not None:
        require_seconds(float((last - first) * video.time_base), limits)
