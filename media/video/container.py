"""Opening a clip: which container it is by its first bytes, its best video stream, and what its headers say.

FFmpeg is told the container's format and never left to guess: some formats it knows are lists of other files and
addresses, which nothing that comes from outside may make it open.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import BadInputError
from media.video.facts import Sound, VideoFacts, VideoLimits
from media.video.pixels import rotation_of
from media.video.wholeness import missing_bytes

Source = Path | bytes | BinaryIO

_HEAD = 1024  # bytes that tell the container
_TS, _M2TS = 188, 192  # bytes of a packet of MPEG transport streams, without and with a time code


def container_format(head: bytes) -> str | None:
    """Return FFmpeg's name of the container whose first bytes are ``head``; None where it is none of video."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mov"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    for magic, name in (
        (b"\x1aE\xdf\xa3", "matroska"),
        (b"FLV\x01", "flv"),
        (b"\x00\x00\x01\xba", "mpeg"),
        (b"\x00\x00\x01\xb3", "mpegvideo"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
        (b"OggS", "ogg"),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    ):
        if head.startswith(magic):
            return name
    for size, start in ((_TS, 0), (_M2TS, 4)):
        if len(head) > start + 2 * size and all(head[start + n * size] == 0x47 for n in range(3)):
            return "mpegts"
    return None


def looks_like_video(data: bytes) -> bool:
    """Tell by a file's first kilobyte whether it is of a container of video; some hold pictures or sound alone."""
    return container_format(data[:_HEAD]) is not None and data[8:12] not in (
        b"avif",
        b"avis",
        b"heic",
        b"mif1",
        b"M4A ",
    )


@contextmanager
def open_video(source: Source, limits: VideoLimits, threads: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a clip and choose its video stream; all others are discarded by the demuxer.

    Raises:
        BadInputError: ``empty``, ``too-many-bytes``, ``not-video``, ``no-video-stream``, ``damaged-video``,
            ``too-long``, ``too-many-frames`` or ``too-large``.
    """
    stream = (
        source.open("rb") if isinstance(source, Path) else io.BytesIO(source) if isinstance(source, bytes) else source
    )
    try:
        name = _require_video(stream, limits)
        # A path is given to FFmpeg itself, which reads it without going through Python.
        target: Any = f"file:{source.absolute()}" if isinstance(source, Path) else stream
        try:
            container = av.open(target, format=name, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise BadInputError("damaged-video", f"its header cannot be read, it may be cut off: {error}") from error
        with container:
            video = _best_stream(container)
            for other in container.streams:
                if other is not video:
                    other.discard = Discard.all
            video.codec_context.thread_count = threads
            _require_within(container, video, limits)
            yield container, video
    finally:
        if stream is not source:
            stream.close()


def _require_video(stream: BinaryIO, limits: VideoLimits) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size == 0:
        raise BadInputError("empty", "the file has no bytes")
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise BadInputError(
            "too-many-bytes", f"the clip has {size:,} bytes, more than the limit of {limits.max_bytes:,}"
        )
    head = stream.read(_HEAD)
    stream.seek(0)
    name = container_format(head)
    if name is None or not looks_like_video(head):
        raise BadInputError(
            "not-video", "its first bytes are not those of a container of video, whatever its name says"
        )
    if missing := missing_bytes(stream, name):
        raise BadInputError("truncated-video", f"its last {missing:,} bytes are missing: copy it again")
    return name


def _best_stream(container: InputContainer) -> VideoStream:
    streams = _video_streams(container)
    if not streams:
        raise BadInputError("no-video-stream", "it has no stream of video that can be decoded")
    return max(streams, key=lambda s: (s.width * s.height, bool(s.disposition & Disposition.default), -s.index))


def _video_streams(container: InputContainer) -> list[VideoStream]:
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]


def _require_within(container: InputContainer, video: VideoStream, limits: VideoLimits) -> None:
    require_seconds(_seconds(container, video) or 0.0, limits)
    require_frames(video.frames, limits)
    require_pixels(video.width, video.height, limits)


def require_seconds(seconds: float, limits: VideoLimits) -> None:
    """Raise ``BadInputError`` with ``too-long`` where the limit is exceeded."""
    if seconds > limits.max_seconds:
        raise BadInputError(
            "too-long", f"it lasts {seconds:,.1f} s, more than the limit of {limits.max_seconds:,.0f} s"
        )


def require_frames(frames: int, limits: VideoLimits) -> None:
    """Raise ``BadInputError`` with ``too-many-frames`` where the limit is exceeded."""
    if frames > limits.max_frames:
        raise BadInputError("too-many-frames", f"it has {frames:,} frames or more, the limit is {limits.max_frames:,}")


def require_pixels(width: int, height: int, limits: VideoLimits) -> None:
    """Raise ``BadInputError`` with ``too-large`` where the limit is exceeded."""
    if width * height > limits.max_pixels:
        raise BadInputError(
            "too-large", f"its frames have {width} × {height} px, more than the limit of {limits.max_pixels:,} px"
        )


def _seconds(container: InputContainer, video: VideoStream) -> float | None:
    if video.duration is not None and video.time_base is not None:
        return float(video.duration * video.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def describe(container: InputContainer, video: VideoStream, first: VideoFrame) -> VideoFacts:
    """Return the facts of an open clip, of which ``first`` is a frame."""
    rotation = rotation_of(first)
    width, height = (first.width, first.height) if rotation % 180 == 0 else (first.height, first.width)
    sound = tuple(
        Sound(
            stream=stream.index,
            codec=stream.codec_context.name,
            rate=stream.codec_context.sample_rate,
            channels=stream.codec_context.channels,
            seconds=float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None,
        )
        for stream in container.streams.audio
        if stream.codec_context is not None
    )
    return VideoFacts(
        width=width,
        height=height,
        seconds=_seconds(container, video),
        frames=video.frames or None,
        rate=float(video.average_rate) if video.average_rate else None,
        codec=video.codec_context.name,
        pixel_format=video.codec_context.pix_fmt or "unknown",
        rotation=rotation,
        container=container.format.name.partition(",")[0],
        stream=video.index,
        video_streams=len(_video_streams(container)),
        sound=sound,
    )
