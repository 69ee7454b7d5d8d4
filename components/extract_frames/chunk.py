"""The work on one chunk of consecutive entries, in a worker process: pictures in, a tar fragment and rows out.

What it writes depends on the chunk's job alone. It does not import pyarrow, to keep workers small.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.extract_frames.fetching import Fetcher
from media.errors import BadInputError
from media.files import write_text
from media.grouping import fingerprint
from media.layouts.base import Blob, Entry, Rejection
from media.pictures import Picture, decode_mask, encode_png, read_picture
from media.samples import sample_id
from media.shards import FragmentWriter
from media.storage import Store

PREVIEWS = 4  # of each class in each chunk; the report chooses from them
PREVIEW_SIDE = 160  # px
_OUTLINE = (255, 40, 40)


@dataclass(frozen=True)
class EntrySettings:
    """What decides how an entry is stored; a part of a chunk's name."""

    max_bytes: int
    max_pixels: int
    mirrored: bool
    store: str
    labels: tuple[str, str]


@dataclass(frozen=True)
class Job:
    """A chunk to extract.

    Attributes:
        name: of the chunk; its files are ``<name>.tar`` and ``<name>.jsonl``.
        folder: where they are written.
        settings: how.
        dataset: name of the data set.
        entries: what to extract.
        crashed: positions of the entries that killed a worker, with what happened; they are rejected untouched.
    """

    name: str
    folder: Path
    settings: EntrySettings
    dataset: str
    entries: tuple[Entry, ...]
    crashed: Mapping[int, str] = field(default_factory=dict)


def fragment_path(folder: Path, chunk: str) -> Path:
    """Return where the tar fragment of a chunk lies."""
    return folder / f"{chunk}.tar"


def rows_path(folder: Path, chunk: str) -> Path:
    """Return where the rows of a chunk lie; this file is written last, so where it is the chunk is complete."""
    return folder / f"{chunk}.jsonl"


def extract_chunk(job: Job, store: Store, starting: Callable[[int], None]) -> None:
    """Write the fragment and the rows of a chunk: a line of JSON for each entry, with ``row`` or ``rejected``.

    Args:
        job: what to do.
        store: the layout's root.
        starting: told the position of each entry before it is touched.

    Raises:
        StorageError: when the store as a whole cannot be read; never for one bad entry of a folder.
    """
    lines: list[str] = []
    previews = {0: PREVIEWS, 1: PREVIEWS}
    blobs = (blob for entry in job.entries for blob in (entry.file, entry.mask) if blob is not None)
    with (
        Fetcher(store, blobs, job.settings.max_bytes) as fetcher,
        FragmentWriter(fragment_path(job.folder, job.name)) as writer,
    ):
        for position, entry in enumerate(job.entries):
            starting(position)
            try:
                if position in job.crashed:
                    raise BadInputError("crashed", job.crashed[position])
                sample = _read(entry, fetcher, job.settings)
            except BadInputError as error:
                rejection = Rejection(entry.file.key, error.reason, error.detail)
                lines.append(json.dumps({"rejected": json.loads(rejection.to_json())}))
                continue
            row = _store(writer, entry, sample, job)
            line: dict[str, Any] = {"row": row, "fingerprints": sample.fingerprints, "links": _links(entry, sample)}
            line |= {"file": entry.file.key, "split": entry.split}
            if previews[sample.label]:
                previews[sample.label] -= 1
                line["preview"] = base64.b64encode(_preview(sample)).decode("ascii")
            lines.append(json.dumps(line))
    write_text(rows_path(job.folder, job.name), "".join(f"{line}\n" for line in lines))


@dataclass(frozen=True)
class _Sample:
    data: bytes
    picture: Picture
    mask: NDArray[np.bool_] | None
    label: int
    fingerprints: list[tuple[int, int]]


def _read(entry: Entry, fetcher: Fetcher, settings: EntrySettings) -> _Sample:
    data = fetcher.get(entry.file)
    picture = read_picture(data, max_pixels=settings.max_pixels)
    mask = None
    if entry.mask is not None:
        mask = _read_mask(fetcher, entry.mask, picture, settings)
    marked = mask is not None and bool(mask.any())
    if entry.label == 1 and mask is not None and not marked:
        raise BadInputError("mask-blank", "the picture is forged, but its mask marks nothing")
    views = [picture.rgb, np.ascontiguousarray(picture.rgb[:, ::-1])] if settings.mirrored else [picture.rgb]
    prints = [(found.difference, found.frequency) for view in views if (found := fingerprint(view))]
    label = int(marked) if entry.label is None else entry.label
    return _Sample(data, picture, mask if marked else None, label, prints)


def _read_mask(fetcher: Fetcher, blob: Blob, picture: Picture, settings: EntrySettings) -> NDArray[np.bool_]:
    try:
        data = fetcher.get(blob)
        height, width = picture.rgb.shape[:2]
        return decode_mask(data, (height, width), orientation=picture.orientation, max_pixels=settings.max_pixels)
    except BadInputError as error:
        reason = error.reason if error.reason.startswith("mask-") else f"mask-{error.reason}"
        raise BadInputError(reason, f"{blob.key}: {error.detail}") from error


def _store(writer: FragmentWriter, entry: Entry, sample: _Sample, job: Job) -> dict[str, Any]:
    picture, labels = sample.picture, job.settings.labels
    media_id = f"{job.dataset}/{entry.medium or entry.name}"
    track = 0 if entry.medium else -1  # frames of a clip follow one face; a picture follows none
    name = sample_id(media_id, entry.frame, track)
    if job.settings.store == "original":
        offset, size = writer.add(f"{name}.{picture.extension}", sample.data)
    else:
        offset, size = writer.add(f"{name}.png", encode_png(picture.rgb))
    mask_offset = mask_size = None
    if sample.mask is not None:
        mask_offset, mask_size = writer.add(f"{name}.mask.png", encode_png(sample.mask))
    height, width = picture.rgb.shape[:2]
    return {
        "sample_id": name,
        "media_id": media_id,
        "dataset": job.dataset,
        "method": entry.method if sample.label else labels[0],
        "compression": entry.compression or picture.compression,
        "label": sample.label,
        "label_name": labels[sample.label],
        "frame": entry.frame,
        "time_ms": 0.0,
        "track": track,
        "box": None,
        "box_score": None,
        "width": width,
        "height": height,
        "forged_fraction": _forged_fraction(sample),
        "offset": offset,
        "size": size,
        "mask_offset": mask_offset,
        "mask_size": mask_size,
    }


def _forged_fraction(sample: _Sample) -> float:
    # A manipulated face has no mask: all of it is suspect.
    return float(sample.label) if sample.mask is None else float(np.count_nonzero(sample.mask)) / sample.mask.size


def _links(entry: Entry, sample: _Sample) -> list[int]:
    """Return 64-bit hashes of what connects the entry to others; identical files are connected too."""
    content = f"content:{hashlib.sha256(sample.data).hexdigest()}"
    return [
        int.from_bytes(hashlib.blake2b(link.encode(), digest_size=8).digest(), "big")
        for link in (*entry.links, content)
    ]


def _preview(sample: _Sample) -> bytes:
    """Return a small JPEG of the picture with the outline of its mask."""
    height, width = sample.picture.rgb.shape[:2]
    scale = PREVIEW_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(sample.picture.rgb, size, interpolation=cv2.INTER_AREA)
    if sample.mask is not None:
        # Any forged pixel of a cell counts, lest small forgeries vanish.
        covered = cv2.resize(sample.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        outlines, _ = cv2.findContours(covered.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(small, outlines, -1, _OUTLINE, 1)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
