"""From a picture's file, and that of its mask, to a sample."""

import numpy as np
from numpy.typing import NDArray

from components.extract_frames.fetching import Fetcher
from components.extract_frames.sample import EntrySettings, Sample, encode
from core.errors import BadInputError
from data.grouping import fingerprint
from data.layouts.base import Blob, Entry
from media.pictures import Picture, decode_mask, read_picture


def read_still(entry: Entry, fetcher: Fetcher, settings: EntrySettings) -> tuple[Sample, bytes]:
    """Read a picture; returns its sample and the bytes of its file.

    Raises:
        BadInputError: when picture or mask cannot be used.
    """
    data = fetcher.get(entry.file)
    picture = read_picture(data, max_pixels=settings.max_pixels)
    mask = None if entry.mask is None else _read_mask(fetcher, entry.mask, picture, settings)
    marked = mask is not None and bool(mask.any())
    if entry.label == 1 and mask is not None and not marked:
        raise BadInputError("mask-blank", "the picture is forged, but its mask marks nothing")
    views = [picture.rgb, np.ascontiguousarray(picture.rgb[:, ::-1])] if settings.mirrored else [picture.rgb]
    original = settings.store == "original"
    stored, extension = (data, picture.extension) if original else encode(picture.rgb, settings)
    sample = Sample(
        data=stored,
        extension=extension,
        rgb=picture.rgb,
        compression=entry.compression or picture.compression,
        label=int(marked) if entry.label is None else entry.label,
        frame=entry.frame,
        track=0 if entry.medium else -1,  # frames of a clip follow one face; a picture follows none
        mask=mask if marked else None,
        fingerprints=tuple((found.difference, found.frequency) for view in views if (found := fingerprint(view))),
    )
    return sample, data


def _read_mask(fetcher: Fetcher, blob: Blob, picture: Picture, settings: EntrySettings) -> NDArray[np.bool_]:
    try:
        data = fetcher.get(blob)
        height, width = picture.rgb.shape[:2]
        return decode_mask(data, (height, width), orientation=picture.orientation, max_pixels=settings.max_pixels)
    except BadInputError as error:
        reason = error.reason if error.reason.startswith("mask-") else f"mask-{error.reason}"
        raise BadInputError(reason, f"{blob.key}: {error.detail}") from error
