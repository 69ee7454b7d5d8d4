"""From a clip's file to the samples of its faces."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from components.extract_frames.sample import EntrySettings, Sample, encode
from core.errors import BadInputError, StorageError
from core.files import sha256_file
from core.settings import parse
from core.storage import NotFoundError, Store
from core.storage.local import FileStore
from data.layouts.base import Blob, Entry
from media.faces import FaceDetector, faces_of_video
from media.spec import DetectorSpec, ExtractionSpec
from media.video import VideoLimits


def read_clip(entry: Entry, store: Store, settings: EntrySettings) -> tuple[list[Sample], str]:
    """Find and cut out the faces of a clip; returns their samples and the hex SHA-256 of its file.

    Raises:
        BadInputError: when the clip cannot be used; ``no-face`` when none was found in it.
    """
    extraction = _extraction(settings.clips)
    if extraction.faces is None:
        raise ValueError("clips are extracted for their faces")
    limits = VideoLimits(settings.max_bytes, settings.max_seconds, settings.max_frames, settings.max_pixels)
    with ExitStack() as stack:
        path = stack.enter_context(_as_file(entry.file, store, settings))
        original = None
        if settings.boxes_of_original and entry.original is not None:
            original = _original(stack, entry.original, store, settings)
        found = faces_of_video(path, extraction, _detector(extraction.faces.detector), limits, original=original)
        if not found.crops:
            raise BadInputError("no-face", f"no face was found in any of {found.frames} frames")
        sha256 = sha256_file(path)
    codec = found.facts.codec if found.facts else ""
    samples = []
    for crop in found.crops:
        data, extension = encode(crop.rgb, settings)
        samples.append(
            Sample(
                data=data,
                extension=extension,
                rgb=crop.rgb,
                compression=entry.compression or codec,
                label=int(entry.label or 0),
                frame=crop.frame,
                time_ms=crop.time_ms,
                track=crop.track,
                box=crop.box,
                box_score=crop.box_score,
            )
        )
    return samples, sha256


@lru_cache(1)
def _extraction(document: str) -> ExtractionSpec:
    return parse(ExtractionSpec, document, "the extraction's specification")


@lru_cache(1)
def _detector(spec: DetectorSpec) -> FaceDetector:
    return FaceDetector(spec)


def _original(stack: ExitStack, blob: Blob, store: Store, settings: EntrySettings) -> Path | None:
    """Return the file of an original; None where it cannot be had, which is told where it is an entry itself."""
    try:
        return stack.enter_context(_as_file(blob, store, settings))
    except BadInputError:
        return None


@contextmanager
def _as_file(blob: Blob, store: Store, settings: EntrySettings) -> Iterator[Path]:
    """Yield a file with the clip's content: its own where it lies in a folder, else a copy that is removed again.

    Raises:
        BadInputError: ``empty``, ``too-many-bytes`` or ``unreadable``.
        StorageError: when the server fails, rather than this one object.
    """
    if blob.size == 0:
        raise BadInputError("empty", "the file has no bytes, or is no regular file")
    if blob.size > settings.max_bytes:
        raise BadInputError(
            "too-many-bytes", f"the clip has {blob.size:,} bytes, more than the limit of {settings.max_bytes:,}"
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
