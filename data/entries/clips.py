"""From a clip's file to the samples of its faces."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.errors import BadInputError, StorageError
from core.files import sha256_file
from core.storage import NotFoundError, Store
from core.storage.local import FileStore
from data.entries.crops import crops_problem
from data.entries.entry import Blob, Entry
from data.entries.kind import EntryKind, EntryReader
from data.entries.sample import Sample, encode
from data.entries.settings import EntrySettings, Limits
from data.labels import AUTHENTIC
from media.extraction import DetectorSpec, ExtractionSpec
from media.faces import FaceCrop, FaceDetector, faces_of_video
from media.video import VideoLimits


class Clips(EntryKind):
    """Clips, of which the faces are stored."""

    def max_bytes(self, limits: Limits) -> int:
        """Return how large a file may be."""
        return limits.max_clip_bytes

    def cutting_problem(self, extraction: ExtractionSpec) -> str:
        """See ``EntryKind.cutting_problem``."""
        return crops_problem(extraction)

    def defaults(self, reach: float) -> dict[str, Any]:
        """Return how faces are cut: as wide as the widest view of them, and no wider."""
        return {"faces": {"margin": reach}} if reach else {}

    @contextmanager
    def open(self, store: Store, entries: Sequence[Entry], settings: EntrySettings) -> Iterator[EntryReader]:  # noqa: ARG002
        """See ``EntryKind.open``; a clip is not fetched before its turn."""
        yield _ClipReader(store, settings)


# A clip costs seconds: nothing is gained by giving a process several at once.
CLIPS = Clips("clips", "clips", "pyav", distance=None, comparable=False, chunk_entries=1)
"""Clips in which faces are searched."""


class _ClipReader:
    def __init__(self, store: Store, settings: EntrySettings) -> None:
        self._store = store
        self._settings = settings

    def read(self, entry: Entry) -> tuple[list[Sample], str]:
        """See ``EntryReader.read``; ``no-face`` when none was found in a clip."""
        extraction, limits = self._settings.extraction, self._settings.limits
        if extraction.faces is None:
            raise ValueError("clips are extracted for their faces")
        allowed = VideoLimits(limits.max_clip_bytes, limits.max_seconds, limits.max_frames, limits.max_pixels)
        detector = _detector(extraction.faces.detector)
        with ExitStack() as stack:
            path = stack.enter_context(_as_file(entry.file, self._store, limits))
            original = None
            if self._settings.boxes_of_original and entry.original is not None:
                original = _original(stack, entry.original, self._store, limits)
            found = faces_of_video(path, extraction, detector, allowed, original=original)
            if not found.crops:
                raise BadInputError("no-face", f"no face was found in any of {found.frames} frames")
            sha256 = sha256_file(path)
        compression = entry.compression or (found.facts.codec if found.facts else "")
        return [self._sample(crop, entry, compression) for crop in found.crops], sha256

    def _sample(self, crop: FaceCrop, entry: Entry, compression: str) -> Sample:
        data, extension = encode(crop.rgb, self._settings.extraction)
        return Sample(
            data=data,
            extension=extension,
            rgb=crop.rgb,
            compression=compression,
            label=AUTHENTIC if entry.label is None else entry.label,
            frame=crop.frame,
            time_ms=crop.time_ms,
            track=crop.track,
            run=crop.run,
            box=crop.cut.box,
            box_score=crop.box_score,
            landmarks=tuple(crop.cut.landmarks.ravel().tolist()),
            crop=crop.cut.crop,
            grid=crop.cut.grid,
        )


@lru_cache(1)
def _detector(spec: DetectorSpec) -> FaceDetector:
    return FaceDetector(spec)


def _original(stack: ExitStack, blob: Blob, store: Store, limits: Limits) -> Path | None:
    """Return the file of an original; None where it cannot be had, which is told where it is an entry itself."""
    try:
        return stack.enter_context(_as_file(blob, store, limits))
    except BadInputError:
        return None


@contextmanager
def _as_file(blob: Blob, store: Store, limits: Limits) -> Iterator[Path]:
    """Yield a file with the clip's content: its own where it lies in a folder, else a copy that is removed again.

    Raises:
        BadInputError: ``empty``, ``too-many-bytes`` or ``unreadable``.
        StorageError: when the server fails, rather than this one object.
    """
    if blob.size == 0:
        raise BadInputError("empty", "the file has no bytes, or is no regular file")
    if blob.size > limits.max_clip_bytes:
        raise BadInputError(
            "too-many-bytes", f"the clip has {blob.size:,} bytes, more than the limit of {limits.max_clip_bytes:,}"
        )
    try:
        if isinstance(store, FileStore):
            with store.open(blob.key):  # says what is wrong with a file that cannot be read
                pass
            yield store.path(blob.key)
            return
        with TemporaryDirectory(prefix="clip-") as folder:
            copy = Path(folder) / "clip"
            store.download(blob.key, copy)
            yield copy
    except StorageError as error:
        if isinstance(store, FileStore) or isinstance(error, NotFoundError):
            raise BadInputError("unreadable", str(error)) from error
        raise
