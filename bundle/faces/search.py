"""Finding the faces to analyze: from the bytes of a video or a picture to crops, within limits of size and memory."""

import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from bundle.analyzers import Category, RequestError, Workbench, unsupported
from bundle.answers import PictureFacts, VideoFactsDocument
from bundle.document import Bundle
from bundle.faces.analysis import extraction_for_video
from bundle.work import Stages, file_digest, in_stoppable_thread, in_thread
from core.errors import BadInputError
from media.extraction import ClipFrames, EvenFrames, FaceSpec, KeyFrames
from media.faces import FaceDetector, FacesFound, faces_of_picture, faces_of_video
from media.faces.detector import MAX_FACES
from media.pictures import decode_picture, picture_size
from media.video import VideoFacts, VideoLimits, probe

T = TypeVar("T")

BUDGET_BYTES = 26  # of memory that a pixel of the budget stands for
# Bytes of memory a pixel of a frame: the decoder holds up to sixteen that later ones refer to, and a few in work, at
# 1.5 each; the one at hand is there in several forms at 3. Those between two searched ones come on top, at 3.
FRAME_BYTES = 60
PIXEL_BYTES = 3
KINDS = (
    "this bundle judges videos (MP4, MOV, WebM, MKV, AVI and others) and pictures (JPEG, PNG, TIFF, WebP, BMP) of faces"
)
UNKNOWN = frozenset({"not-a-picture", "empty"})  # reasons that say that it is no picture either


@dataclass(frozen=True)
class Medium:
    """What was found in a video or a picture.

    Attributes:
        found: the faces.
        min_frames: in which a face must be seen to be judged.
        video: what it is, for a video from a file.
        picture: what it is, for a picture from a file.
    """

    found: FacesFound
    min_frames: int = 1
    video: VideoFactsDocument | None = None
    picture: PictureFacts | None = None


class AbandonedError(Exception):
    """The request was given up: its thread has nothing more to do."""


class FaceFinder:
    """Finds faces for one bundle.

    Args:
        document: of the bundle; its ``extraction.faces`` are given.
        workbench: of the server.
    """

    def __init__(self, document: Bundle, workbench: Workbench) -> None:
        self._limits = limits = workbench.limits
        self._extraction = extraction_for_video(document, limits.frames)
        self._pool = workbench.pool
        self._video_pool = workbench.video_pool
        self._video_limits = VideoLimits(
            max_bytes=None,  # its bytes were counted as they arrived
            max_seconds=limits.max_seconds,
            max_frames=limits.max_frames,
            max_pixels=limits.max_pixels,
        )
        # A half each: a picture does not wait for videos.
        half = max(1, limits.open_pixels // 2)
        self._budget, self._video_budget = workbench.budget(half), workbench.budget(half)
        self._own = threading.local()

    @asynccontextmanager
    async def in_video(self, file: BinaryIO, stages: Stages) -> AsyncIterator[Medium]:
        """Find the faces of a video, and hold their share of the memory.

        Args:
            file: at any position; no thread uses it any more when this ends, however it does.
            stages: get ``decode`` and ``detect``.

        Raises:
            RequestError: when the bytes are no usable video.
        """
        stop = threading.Event()

        def timed(stage: str, work: Callable[[], T]) -> T:
            if stop.is_set():
                raise AbandonedError
            return stages.timed(stage, work)

        def look() -> VideoFactsDocument:
            digest = timed("decode", lambda: file_digest(file))
            return _describe(timed("decode", lambda: probe(file, self._video_limits)), digest)

        def find() -> FacesFound:
            return faces_of_video(file, self._extraction, self._detector, self._video_limits, timed)

        with _refusing("video"):
            facts = await in_stoppable_thread(self._video_pool, stop, look)
        async with self._video_budget.hold(self._pixels(facts)):
            with _refusing("video"):
                found = await in_stoppable_thread(self._video_pool, stop, find)
            yield Medium(found, self._limits.min_frames, video=facts)

    @asynccontextmanager
    async def in_picture(self, data: bytes, stages: Stages) -> AsyncIterator[Medium]:
        """Find the faces of a picture file, and hold their share of the memory.

        Args:
            data: a JPEG, PNG, TIFF, WebP or BMP file.
            stages: get ``decode`` and ``detect``.

        Raises:
            RequestError: when the bytes are no picture, or no usable one.
        """

        def find() -> tuple[FacesFound, PictureFacts]:
            rgb = stages.timed("decode", decode_picture, data, max_pixels=self._limits.max_pixels)
            digest = stages.timed("decode", hashlib.sha256, data).hexdigest()
            facts = PictureFacts(width=rgb.shape[1], height=rgb.shape[0], sha256=digest)
            return stages.timed("detect", faces_of_picture, rgb, self._faces, self._detector), facts

        with _refusing("picture"):
            limit = self._limits.max_pixels
            width, height = await in_thread(self._pool, stages.timed, "decode", picture_size, data, max_pixels=limit)
        async with self._budget.hold(width * height):
            with _refusing("picture"):
                found, facts = await in_thread(self._pool, find)
            yield Medium(found, picture=facts)

    @asynccontextmanager
    async def in_pixels(self, rgb: NDArray[np.uint8], stages: Stages) -> AsyncIterator[Medium]:
        """Find the faces of decoded pixels uint8 [H, W, 3], and hold their share of the memory."""
        async with self._budget.hold(rgb.shape[0] * rgb.shape[1]):
            yield Medium(
                await in_thread(
                    self._pool, lambda: stages.timed("detect", faces_of_picture, rgb, self._faces, self._detector)
                )
            )

    @property
    def _faces(self) -> FaceSpec:
        faces = self._extraction.faces
        if faces is None:  # the bundle's schema forbids it
            raise ValueError("the bundle does not say how faces are cut out")
        return faces

    @property
    def _detector(self) -> FaceDetector:
        """The one of this thread: it keeps what belongs to the picture at hand."""
        if not hasattr(self._own, "detector"):
            self._own.detector = FaceDetector(self._faces.detector)
        detector: FaceDetector = self._own.detector
        return detector

    def _pixels(self, facts: VideoFactsDocument) -> int:
        """Return how many pixels of the budget a video counts as: its frames in work, and all crops there may be."""
        match self._extraction.frames:
            case EvenFrames(count=count) | KeyFrames(count=count):
                crops = count
            case ClipFrames(clips=clips, length=length):
                crops = clips * length
            case _:
                crops = 0
        frame = facts.width * facts.height * (FRAME_BYTES + PIXEL_BYTES * self._faces.detector.every)
        return (frame + crops * MAX_FACES * self._faces.max_side**2 * PIXEL_BYTES) // BUDGET_BYTES


@contextmanager
def _refusing(kind: str) -> Iterator[None]:
    """Turn what is wrong with the bytes into an answer."""
    try:
        yield
    except BadInputError as error:
        if error.reason in UNKNOWN:
            raise unsupported(f"{KINDS}; {error.detail}") from None
        raise RequestError(Category.UNUSABLE, error.reason, f"this {kind} cannot be judged: {error.detail}") from None


def _describe(facts: VideoFacts, digest: str) -> VideoFactsDocument:
    return VideoFactsDocument(
        width=facts.width,
        height=facts.height,
        duration=None if facts.seconds is None else round(facts.seconds, 6),
        frames=facts.frames,
        rate=None if facts.rate is None else round(facts.rate, 6),
        codec=facts.codec,
        rotation=facts.rotation,
        sha256=digest,
    )
