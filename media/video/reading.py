"""The one reader of video: only the frames that are asked for are shown, and little more than them is decoded."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import BadInputError
from media.extraction import FramePolicy
from media.video.choosing import choose_frames
from media.video.container import Source, describe, open_video, require_pixels
from media.video.facts import Frame, VideoFacts, VideoLimits
from media.video.pixels import to_rgb
from media.video.stretches import UndeliveredError, decode
from media.video.timeline import Timeline, count, scan


class VideoReader:
    """An open clip; a context manager. Holds a few frames in memory, however long the clip is.

    ``count`` is the number of its frames, ``keys`` are the numbers of those that decode alone; both may be corrected
    by reading, where packets promised others.
    """

    def __init__(self, source: Source, limits: VideoLimits | None = None, *, threads: int = 1) -> None:
        """Open nothing yet.

        Args:
            source: path, content, or seekable stream of the clip.
            limits: what is refused.
            threads: of the decoder; one is best where other processes decode other clips.
        """
        self._source = source
        self._limits = limits or VideoLimits()
        self._threads = threads
        self._exit = ExitStack()
        self._first: VideoFrame | None = None
        self.count = 0
        self.keys: Sequence[int] = ()

    def __enter__(self) -> "VideoReader":
        try:
            self._reopen()
            self._know(scan(self._container, self._video, self._limits) or self._counted())
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.close()

    @property
    def facts(self) -> VideoFacts:
        """What is known of the clip; reads its first frame where none was read yet."""
        if self._first is None:
            list(self.frames([(0, 0)]))
        if self._first is None:
            raise BadInputError("no-frames", "no frame of its video stream can be decoded")
        return describe(self._container, self._video, self._first)

    def frames(self, chosen: Sequence[tuple[int, int]]) -> Iterator[Frame]:
        """Read frames by their numbers.

        Args:
            chosen: number and run of each, ascending; numbers beyond the last frame are left out.

        Raises:
            BadInputError: ``damaged-video`` where one of them cannot be decoded, ``too-large``.
        """
        known = [(number, run) for number, run in chosen if number < self.count]
        delivered = 0
        try:
            for (number, run), frame in zip(known, self._decoded([number for number, _ in known]), strict=True):
                yield self._shown(frame, number, run)
                delivered += 1
            return
        except UndeliveredError as error:
            if delivered or self._timeline.packets is None:
                raise BadInputError("damaged-video", str(error)) from error
        self._know(self._counted())
        yield from self.frames(chosen)

    def _decoded(self, numbers: Sequence[int]) -> Iterator[VideoFrame]:
        timeline = self._timeline
        if timeline.packets is not None:
            yield from decode(self._container, self._video, timeline.packets, [timeline.pts[n] for n in numbers])
            return
        self._reopen()
        pending, last = set(numbers), max(numbers, default=-1)
        try:
            for number, frame in enumerate(self._container.decode(self._video)):
                if number in pending:
                    yield frame
                if number >= last:
                    return
        except av.error.FFmpegError as error:
            raise UndeliveredError(f"its frames cannot be decoded: {error}") from error
        raise UndeliveredError("its frames come to an end before their time")

    def _shown(self, frame: VideoFrame, number: int, run: int) -> Frame:
        require_pixels(frame.width, frame.height, self._limits)
        self._first = self._first or frame
        if (frame.width, frame.height) != (self._first.width, self._first.height):
            raise BadInputError("damaged-video", f"its frames change in size, at frame {number}")
        if frame.is_corrupt:
            raise BadInputError("damaged-video", f"frame {number} is damaged")
        base, start = self._video.time_base, (self._container.start_time or 0) / av.time_base
        time = float(self._timeline.pts[number] * base) - start if base is not None else 0.0
        return Frame(number, round(time * 1000, 3), run, to_rgb(frame, self._threads))

    def _counted(self) -> Timeline:
        self._reopen()
        return count(self._container, self._video, self._limits)

    def _know(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.count, self.keys = len(timeline.pts), timeline.keys

    def _reopen(self) -> None:
        self._exit.close()
        self._container: InputContainer
        self._video: VideoStream
        self._container, self._video = self._exit.enter_context(open_video(self._source, self._limits, self._threads))


def probe(source: Source, limits: VideoLimits | None = None) -> VideoFacts:
    """Return what is known of a clip, of which one frame is decoded.

    Raises:
        BadInputError: as for ``read_frames``.
    """
    with VideoReader(source, limits) as reader:
        return reader.facts


def read_frames(
    source: Source, policy: FramePolicy, limits: VideoLimits | None = None, *, threads: int = 1
) -> Iterator[Frame]:
    """Stream the frames that a policy asks for, in the order of display.

    A clip that is cut off is refused: what is left of it is not the whole over which frames are to be spread.

    Args:
        source: path, content, or seekable stream of the clip.
        policy: which frames.
        limits: what is refused.
        threads: of the decoder.

    Raises:
        BadInputError: ``empty``, ``too-many-bytes``, ``not-video``, ``no-video-stream``, ``no-frames``,
            ``truncated-video``, ``damaged-video``, ``too-long``, ``too-many-frames`` or ``too-large``.
    """
    with VideoReader(source, limits, threads=threads) as reader:
        yield from reader.frames(choose_frames(policy, reader.count, reader.keys))
