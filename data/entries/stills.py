"""From a picture's file, and that of its mask, to a sample."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInputError
from core.storage import Store
from data.entries.entry import Blob, Entry
from data.entries.fetching import Fetcher
from data.entries.kind import EntryKind, EntryReader
from data.entries.sample import Sample, encode
from data.entries.settings import EntrySettings, Limits
from data.grouping import fingerprint
from media.extraction import ExtractionSpec
from media.pictures import Picture, decode_mask, read_picture


class Stills(EntryKind):
    """Pictures, each stored whole as it is."""

    def max_bytes(self, limits: Limits) -> int:
        """Return how large a file may be."""
        return limits.max_bytes

    def cutting_problem(self, extraction: ExtractionSpec) -> str:
        """See ``EntryKind.cutting_problem``."""
        return "" if extraction.faces is None else "spec.extraction.faces must be null"

    @contextmanager
    def open(self, store: Store, entries: Sequence[Entry], settings: EntrySettings) -> Iterator[EntryReader]:
        """See ``EntryKind.open``; the files are fetched ahead."""
        blobs = (blob for entry in entries for blob in (entry.file, entry.mask) if blob is not None)
        with Fetcher(store, blobs, self.max_bytes(settings.limits)) as fetcher:
            yield _StillReader(fetcher, settings)


# Few enough to share among processes and to lose little in a kill, enough to make files and messages cheap.
CHUNK_ENTRIES = 64

PICTURES = Stills("pictures", "pictures", "pillow", distance=4, comparable=True, chunk_entries=CHUNK_ENTRIES)
"""Whole pictures."""


class _StillReader:
    def __init__(self, fetcher: Fetcher, settings: EntrySettings) -> None:
        self._fetcher = fetcher
        self._settings = settings

    def read(self, entry: Entry) -> tuple[list[Sample], str]:
        """See ``EntryReader.read``."""
        extraction = self._settings.extraction
        data = self._fetcher.get(entry.file)
        picture = read_picture(data, max_pixels=self._settings.limits.max_pixels)
        mask = None if entry.mask is None else self._read_mask(entry.mask, picture)
        marked = mask is not None and bool(mask.any())
        if entry.label and mask is not None and not marked:
            name = self._settings.classes[entry.label]
            raise BadInputError("mask-blank", f"the picture is {name}, but its mask marks nothing")
        original = extraction.store == "original"
        stored, extension = (data, picture.extension) if original else encode(picture.rgb, extraction)
        sample = Sample(
            data=stored,
            extension=extension,
            rgb=picture.rgb,
            compression=entry.compression or picture.compression,
            label=int(marked) if entry.label is None else entry.label,
            frame=entry.frame,
            track=0 if entry.medium else -1,  # frames of a clip follow one face; a picture follows none
            mask=mask if marked else None,
            fingerprints=self._fingerprints(picture.rgb),
        )
        return [sample], hashlib.sha256(data).hexdigest()

    def _fingerprints(self, rgb: NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
        pictures = [rgb, np.ascontiguousarray(rgb[:, ::-1])] if self._settings.mirrored else [rgb]
        found = [fingerprint(picture) for picture in pictures]
        return tuple((one.difference, one.frequency) for one in found if one is not None)

    def _read_mask(self, blob: Blob, picture: Picture) -> NDArray[np.bool_]:
        height, width = picture.rgb.shape[:2]
        limit = self._settings.limits.max_pixels
        try:
            data = self._fetcher.get(blob)
            return decode_mask(data, (height, width), orientation=picture.orientation, max_pixels=limit)
        except BadInputError as error:
            reason = error.reason if error.reason.startswith("mask-") else f"mask-{error.reason}"
            raise BadInputError(reason, f"{blob.key}: {error.detail}") from error
