"""The work on one chunk of consecutive entries, in a worker process: media in, a tar fragment and rows out.

What it writes depends on the chunk's job alone. It does not import pyarrow, to keep workers small.
"""

import base64
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import BadInputError
from core.files import write_text
from core.storage import Store
from data.entries.entry import Entry, Rejection
from data.entries.kind import EntryKind
from data.entries.sample import Sample
from data.entries.settings import EntrySettings
from data.fragments import FragmentWriter
from data.labels import AUTHENTIC
from data.samples import sample_id
from media.pictures import encode_png

PREVIEWS = 4  # of each class in each chunk, and no more than it has entries; the report chooses from them
PREVIEW_SIDE = 160  # px, at most
_OUTLINE = (255, 40, 40)


@dataclass(frozen=True)
class Job:
    """A chunk to extract.

    Attributes:
        name: of the chunk; its files are ``<name>.tar`` and ``<name>.jsonl``.
        folder: where they are written.
        kind: what the entries are.
        settings: how they are extracted.
        dataset: name of the data set.
        entries: what to extract.
        crashed: positions of the entries that killed a worker, with what happened; they are rejected untouched.
    """

    name: str
    folder: Path
    kind: EntryKind
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
    """Write the fragment and the rows of a chunk: a line of JSON for each sample, with ``row`` or ``rejected``.

    Args:
        job: what to do.
        store: the layout's root.
        starting: called with the position of each entry before it is touched.

    Raises:
        StorageError: when a store as a whole cannot be read or written; never for one bad entry of a folder.
    """
    lines: list[str] = []
    previews: Counter[int] = Counter()
    with (
        job.kind.open(store, job.entries, job.settings) as reader,
        FragmentWriter(fragment_path(job.folder, job.name)) as writer,
    ):
        for position, entry in enumerate(job.entries):
            starting(position)
            try:
                if position in job.crashed:
                    raise BadInputError("crashed", job.crashed[position])
                samples, sha256 = reader.read(entry)
            except BadInputError as error:
                rejection = Rejection(entry.file.key, error.reason, error.detail)
                lines.append(json.dumps({"rejected": json.loads(rejection.to_json())}))
                continue
            links, copies = [_link(link) for link in entry.links], _link(f"content:{sha256}")
            for sample in samples:
                row = _store(writer, entry, sample, job)
                line: dict[str, Any] = {"row": row, "links": links, "copies": copies}
                line["medium"] = _link(f"medium:{row['media_id']}")
                line |= {"fingerprints": sample.fingerprints, "file": entry.file.key, "split": entry.split}
                if previews[sample.label] < min(PREVIEWS, len(job.entries)):
                    previews[sample.label] += 1
                    line["preview"] = base64.b64encode(_preview(sample)).decode("ascii")
                lines.append(json.dumps(line))
    write_text(rows_path(job.folder, job.name), "".join(f"{line}\n" for line in lines))


def _store(writer: FragmentWriter, entry: Entry, sample: Sample, job: Job) -> dict[str, Any]:
    classes = job.settings.classes
    media_id = f"{job.dataset}/{entry.medium or entry.name}"
    name = sample_id(media_id, sample.frame, sample.track)
    offset, size = writer.add(f"{name}.{sample.extension}", sample.data)
    mask_offset = mask_size = mask_crc32 = None
    if sample.mask is not None:
        mask = encode_png(sample.mask)
        mask_offset, mask_size = writer.add(f"{name}.mask.png", mask)
        mask_crc32 = zlib.crc32(mask)
    height, width = sample.rgb.shape[:2]
    grid_x, grid_y = sample.grid or (None, None)
    return {
        "sample_id": name,
        "media_id": media_id,
        "dataset": job.dataset,
        "method": classes[AUTHENTIC] if sample.label == AUTHENTIC else entry.method,
        "compression": sample.compression,
        "label": sample.label,
        "label_name": classes[sample.label],
        "frame": sample.frame,
        "time_ms": sample.time_ms,
        "track": sample.track,
        "run": sample.run,
        "box": sample.box,
        "box_score": sample.box_score,
        "landmarks": sample.landmarks,
        "crop": sample.crop,
        "grid_x": grid_x,
        "grid_y": grid_y,
        "width": width,
        "height": height,
        "forged_fraction": sample.forged_fraction,
        "offset": offset,
        "size": size,
        "mask_offset": mask_offset,
        "mask_size": mask_size,
        "crc32": zlib.crc32(sample.data),
        "mask_crc32": mask_crc32,
    }


def _link(link: str) -> int:
    """Return a 64-bit hash of what connects an entry or its file to others."""
    return int.from_bytes(hashlib.blake2b(link.encode(), digest_size=8).digest(), "big")


def _preview(sample: Sample) -> bytes:
    """Return a small JPEG of the pixels with the outline of their mask."""
    height, width = sample.rgb.shape[:2]
    step = -(-max(height, width) // PREVIEW_SIDE)  # whole cells of pixels are averaged several times as fast as others
    size = (max(1, width // step), max(1, height // step))
    whole = slice(size[1] * step), slice(size[0] * step)
    small = cv2.resize(sample.rgb[whole], size, interpolation=cv2.INTER_AREA)
    if sample.mask is not None:
        # Any forged pixel of a cell counts, lest small forgeries vanish.
        covered = cv2.resize(sample.mask[whole].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        outlines, _ = cv2.findContours(covered.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(small, outlines, -1, _OUTLINE, 1)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
