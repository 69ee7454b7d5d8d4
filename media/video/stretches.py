"""Decoding little more than the frames that are asked for.

The packets of a clip are known, so decoding begins at the last keyframe before such a frame, leaves out what no other
frame refers to, and ends with the frame; what lies between two such stretches is not decoded at all.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import VeriframeError
from media.video.timeline import Packets

# A gap in the file that is worth a seek; nearer packets are sooner read and thrown away.
_SEEK_BYTES = 4 * 2**20
# Codecs whose decoders leave out, packet by packet, what no other frame refers to.
_SKIPPING = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"})


class UndeliveredError(VeriframeError):
    """A frame that the packets promise did not come out of the decoder."""


@dataclass(frozen=True)
class Stretch:
    """Packets to decode without a break: a keyframe, up to the last that is needed for the frames of ``times``."""

    first: int
    last: int
    times: frozenset[int]


def stretches(times: Sequence[int], packets: Packets) -> list[Stretch]:
    """Return what must be decoded for the frames of ``times``, which ascend."""
    keys = sorted((pts, n) for n, (pts, key) in enumerate(zip(packets.pts, packets.key, strict=True)) if key)
    starts = [pts for pts, _ in keys]
    order = {pts: n for n, pts in enumerate(packets.pts)}
    found: list[Stretch] = []
    for time in times:
        first, last = keys[bisect_right(starts, time) - 1][1], order[time]
        # Frames shown before a keyframe may be stored behind it: their stretch reaches into the next.
        if found and first <= found[-1].last:
            one = found.pop()
            found.append(Stretch(one.first, max(one.last, last), one.times | {time}))
        else:
            found.append(Stretch(first, last, frozenset({time})))
    return found


def decode(
    container: InputContainer, video: VideoStream, packets: Packets, times: Sequence[int]
) -> Iterator[VideoFrame]:
    """Decode the frames of ``times``, which ascend, and yield them in this order.

    Raises:
        UndeliveredError: when one of them does not come out.
    """
    cursor = _Cursor(container, video, packets)
    context = video.codec_context
    skipping = context.name in _SKIPPING
    for stretch in stretches(times, packets):
        missing = set(stretch.times)
        try:
            cursor.go(stretch.first)
            for _ in range(stretch.first, stretch.last + 1):
                packet = cursor.read()
                if skipping:
                    context.skip_frame = "DEFAULT" if packet.pts in stretch.times else "NONREF"
                yield from _those(context.decode(packet), missing)
            yield from _those(context.decode(None), missing)
            context.flush_buffers()
        except av.error.FFmpegError as error:
            raise UndeliveredError(f"its frames cannot be decoded: {error}") from error
        if missing:
            raise UndeliveredError(f"{len(missing)} of its frames cannot be decoded")


def _those(frames: Sequence[VideoFrame], missing: set[int]) -> Iterator[VideoFrame]:
    for frame in frames:
        if frame.pts in missing:
            missing.remove(frame.pts)
            yield frame


class _Cursor:
    """A place among the packets."""

    def __init__(self, container: InputContainer, video: VideoStream, packets: Packets) -> None:
        self._container = container
        self._video = video
        self._packets = packets
        self._order = {pts: number for number, pts in enumerate(packets.pts)}
        self._source: Iterator[Packet[VideoStream]] = iter(())
        self._ahead: Packet[VideoStream] | None = None
        self._next: int | None = None

    def go(self, number: int) -> None:
        """Go to a packet, by reading on or by seeking."""
        if self._next is None or number < self._next or self._is_far(number):
            self._seek(number)
        while self._next is not None and self._next < number:
            self.read()

    def read(self) -> "Packet[VideoStream]":
        """Return the packet at this place and go on to the next."""
        packet = self._ahead or next((packet for packet in self._source if packet.size), None)
        if packet is None or self._next is None:
            raise UndeliveredError("its packets come to an end before their time")
        self._ahead, self._next = None, self._next + 1
        return packet

    def _is_far(self, number: int) -> bool:
        start, end = self._packets.position[self._next or 0], self._packets.position[number]
        return start >= 0 and end - start > _SEEK_BYTES

    def _seek(self, number: int) -> None:
        # Some indexes know decoding times alone, and lead past the packet; from the first one there is always a way.
        for target in (self._packets.pts[number], min(self._packets.pts)):
            self._container.seek(target, stream=self._video)
            self._source = self._container.demux(self._video)
            self._ahead = next((packet for packet in self._source if packet.size and packet.pts in self._order), None)
            if self._ahead is not None and self._ahead.pts is not None:
                self._next = self._order[self._ahead.pts]
                if self._next <= number:
                    return
        raise UndeliveredError("its packets are not where its index says")
