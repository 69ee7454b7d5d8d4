"""From a clip or a picture to the crops of its faces; extraction and server share this."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError, SettingsError
from media.extraction import ExtractionSpec, FaceSpec
from media.faces.cropping import CutFace, cut_face
from media.faces.detector import Face, FaceDetector
from media.faces.people import Seen, choose_main, join_people
from media.faces.tracking import Tracker, between, colours, is_cut, smoothed
from media.video import Frame, Source, VideoFacts, VideoLimits, VideoReader, choose_frames
from media.view import StoredSample, Subject

# Between two searched frames at most so much time passes, or a box that is interpolated between them leaves the face.
MAX_GAP_MS = 1000.0

T = TypeVar("T")


class Timed(Protocol):
    """Calls ``work`` and returns what it returns; ``stage`` (``decode`` or ``detect``) is what it is counted as."""

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        """Do the work."""


@dataclass(frozen=True)
class FaceCrop:
    """One face in one frame, cut out.

    Attributes:
        frame: number of the frame in its clip.
        time_ms: of the frame.
        run: of ``ClipFrames`` the run that the frame belongs to.
        track: number of the person; equal for all crops that are taken for one.
        box: x0, y0, x1, y1 in px of the frame, of the face without margin.
        box_score: how sure the detector was, 0..1; the lower of two where the box is interpolated.
        cut: the face as it is stored.
    """

    frame: int
    time_ms: float
    run: int
    track: int
    box: tuple[float, float, float, float]
    box_score: float
    cut: CutFace

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """Return the pixels, uint8 [S, S, 3]."""
        return self.cut.rgb

    @property
    def sample(self) -> StoredSample:
        """Return what views are cut from."""
        return StoredSample(self.cut.rgb, subject=Subject(self.cut.box, self.cut.landmarks), grid=self.cut.grid)


@dataclass(frozen=True)
class FacesFound:
    """What was found in a medium; a medium without a face has no crops.

    Attributes:
        crops: by track and frame.
        frames: number of frames that were looked at.
        tracks: number of faces among the crops.
        facts: of the clip; None for a picture.
    """

    crops: tuple[FaceCrop, ...]
    frames: int
    tracks: int
    facts: VideoFacts | None


def _directly(stage: str, work: Callable[[], T]) -> T:  # noqa: ARG001
    return work()


def faces_of_video(
    source: Source,
    extraction: ExtractionSpec,
    detector: FaceDetector,
    limits: VideoLimits | None = None,
    timed: Timed = _directly,
    *,
    original: Source | None = None,
    threads: int = 1,
) -> FacesFound:
    """Find, follow and cut out the faces of a clip.

    A part of the frames is searched: the first and the last of every scene and every run, one of every
    ``detector.every``, and so many that no more than ``MAX_GAP_MS`` lie between two. In the frames between two in which
    a face was found, its box is interpolated. No more than some frames are held at a time. A face is followed by where
    it is, never over a cut; from one run to the next, or over more than ``MAX_GAP_MS``, faces that look alike are one.

    Args:
        source: path, content, or seekable stream of the clip.
        extraction: which frames, and how faces are found and cut; ``frames`` must be a policy of video.
        detector: made of ``extraction.faces.detector``.
        limits: what is refused.
        timed: measures decoding and detecting.
        original: of a manipulated clip, the clip it was made from: its faces are searched in the place of those of
            ``source``, wherever it has the same frame in the same size. One that cannot be read is not used.
        threads: of the decoder.

    Raises:
        BadInputError: as ``media.video.read_frames`` says; never for a clip without a face.
        SettingsError: when the specification is none of faces in video.
    """
    if extraction.faces is None or extraction.frames == "still":
        raise SettingsError("extraction.faces and a policy of extraction.frames are needed to cut faces out of video")
    finder = _Finder(extraction.faces, detector, timed)
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(source, limits, threads=threads))
        chosen = choose_frames(extraction.frames, reader.count, reader.keys)
        frames = reader.frames(chosen)
        twins = _twins(stack, original, limits, chosen, threads)
        while (frame := timed("decode", lambda: next(frames, None))) is not None:
            twin = None if original is None else timed("decode", lambda: next(twins, None))
            same = twin is not None and (twin.number, twin.rgb.shape) == (frame.number, frame.rgb.shape)
            finder.add(frame, twin.rgb if twin is not None and same else frame.rgb)
        return finder.finish(reader.facts)


def _twins(
    stack: ExitStack, original: Source | None, limits: VideoLimits | None, chosen: list[tuple[int, int]], threads: int
) -> Iterator[Frame]:
    """Yield the chosen frames of the original, as far as they can be read."""
    if original is None:
        return
    try:
        reader = stack.enter_context(VideoReader(original, limits, threads=threads))
        yield from reader.frames(chosen)
    except BadInputError:
        return


def faces_of_picture(rgb: NDArray[np.uint8], faces: FaceSpec, detector: FaceDetector) -> FacesFound:
    """Find and cut out the faces of a picture, as of a clip of one frame.

    Args:
        rgb: uint8 [H, W, 3].
        faces: how.
        detector: made of ``faces.detector``.
    """
    finder = _Finder(faces, detector, _directly)
    finder.add(Frame(0, 0.0, 0, rgb), rgb)
    return finder.finish(None)


@dataclass
class _Searched:
    """A searched frame: its number, time, and face by track."""

    number: int
    time_ms: float
    faces: dict[int, Face]


@dataclass
class _Finder:
    """Takes frames in their order and cuts faces out of each as soon as its boxes are certain."""

    spec: FaceSpec
    detector: FaceDetector
    timed: Timed
    _tracker: Tracker = field(default_factory=Tracker)
    _pending: tuple[Frame, NDArray[np.uint8], NDArray[np.float32]] | None = None
    _held: list[Frame] = field(default_factory=list)
    _searched: list[_Searched] = field(default_factory=list)  # of this scene and run
    _settled: _Searched | None = None  # the last of them whose boxes are certain
    _since: int = 0  # frames since the last searched one
    _frames: int = 0
    _stretches: dict[int, int] = field(default_factory=dict)  # by number of the frame
    _crops: list[FaceCrop] = field(default_factory=list)

    def add(self, frame: Frame, looked: NDArray[np.uint8]) -> None:
        """Take a frame; ``looked`` is where its faces are searched."""
        seen, stretch = colours(frame.rgb), 0
        if self._pending is not None:
            before, _, earlier = self._pending
            apart = frame.run != before.run or frame.time_ms - before.time_ms > MAX_GAP_MS
            stretch = self._stretches[before.number] + apart
            cut_here = is_cut(earlier, seen)
            self._settle(frame.time_ms, ends=cut_here or frame.run != before.run)
            if cut_here:
                self._tracker.cut()
        self._stretches[frame.number] = stretch
        self._pending = frame, looked, seen
        self._frames += 1

    def finish(self, facts: VideoFacts | None) -> FacesFound:
        """Return what was found."""
        if self._pending is not None:
            self._settle(self._pending[0].time_ms, ends=True)
        crops = self._selected()
        return FacesFound(crops, self._frames, len({crop.track for crop in crops}), facts)

    def _settle(self, next_ms: float, *, ends: bool) -> None:
        """Search the pending frame if it must be, now that the time of the next is known."""
        if self._pending is None:
            return
        frame, looked, _ = self._pending
        self._held.append(frame)
        self._since += 1
        last = self._searched[-1] if self._searched else None
        late = last is None or next_ms - last.time_ms > MAX_GAP_MS
        if ends or late or self._since >= self.spec.detector.every:
            found = self.timed("detect", lambda: self.detector.detect(looked))
            faces = [face for face in found if _shorter_side(face) >= self.spec.min_side]
            by_track = {sighting.track: sighting.face for sighting in self._tracker.follow(faces)}
            self._searched.append(_Searched(frame.number, frame.time_ms, by_track))
            self._since = 0
            if len(self._searched) > 1:
                self._cut_up_to(len(self._searched) - 2)
        if ends:
            self._cut_up_to(len(self._searched) - 1)
            self._searched, self._settled = [], None

    def _cut_up_to(self, position: int) -> None:
        """Cut the faces of the held frames up to a searched one, of which the neighbours are known by now."""
        current = self._searched[position]
        if self._settled is not None and self._settled.number == current.number:
            return
        number, time_ms = current.number, current.time_ms
        near = self._searched[max(0, position - 1) : position + 2]
        sightings = {
            track: [(one.time_ms, one.faces[track]) for one in near if track in one.faces] for track in current.faces
        }
        faces = {track: smoothed(seen, time_ms) for track, seen in sightings.items()}
        certain = _Searched(number, time_ms, faces)
        while self._held and self._held[0].number <= number:
            self._cut(self._held.pop(0), certain)
        self._settled = certain

    def _cut(self, frame: Frame, certain: _Searched) -> None:
        before = self._settled
        for track, face in sorted(certain.faces.items()):
            if frame.number == certain.number:
                where = face
            elif before is not None and track in before.faces:
                ends = (before.time_ms, before.faces[track]), (certain.time_ms, face)
                where = between(*ends, frame.time_ms)
            else:
                continue
            stored = cut_face(frame.rgb, where, self.spec)
            self._crops.append(FaceCrop(frame.number, frame.time_ms, frame.run, track, where.box, where.score, stored))

    def _selected(self) -> tuple[FaceCrop, ...]:
        """Return the crops of the faces that are asked for, whose tracks are those of persons, numbered from 0."""
        crops = self._crops
        seen = [Seen(crop.track, self._stretches[crop.frame], crop.box, crop.rgb) for crop in crops]
        if self.spec.select == "main":
            chosen = choose_main(seen)
            crops, seen = [crops[position] for position in chosen], [seen[position] for position in chosen]
        people = join_people(seen)
        numbered = (replace(crop, track=people[crop.track]) for crop in crops)
        return tuple(sorted(numbered, key=lambda crop: (crop.track, crop.frame)))


def _shorter_side(face: Face) -> float:
    return min(face.box[2] - face.box[0], face.box[3] - face.box[1])
