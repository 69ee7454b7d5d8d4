"""One picture or one clip of a data set, and an input that was left out."""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Blob:
    """One version of one object: key relative to the layout's root, bytes, and the store's tag of the version."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Entry:
    """One picture or one clip of a data set.

    Attributes:
        name: what tells it from all others of the data set, ``folder/file``; with the data set's name before it, this
            is the ``media_id``, unless ``medium`` says otherwise.
        file: the picture or the clip.
        mask: the file of its mask; None where it has none, being authentic.
        label: its class, 0 for what is authentic; None where the mask decides between 0 and 1.
        method: how it was forged, as far as is known; what authentic ones carry is the name of their class.
        links: strings that entries of one group share, such as ``id:12`` or ``source:photo7``.
        medium: of a frame that was cut out already, the name of the clip that it comes from.
        frame: number of such a frame in its clip.
        compression: how it was compressed, where the layout says so.
        split: the official one, where the layout has it.
        original: of a manipulated clip, the clip that it was made from, where that is in the data set.
    """

    name: str
    file: Blob
    mask: Blob | None
    label: int | None
    method: str
    links: tuple[str, ...] = ()
    medium: str = ""
    frame: int = 0
    compression: str = ""
    split: str = ""
    original: Blob | None = None

    def to_json(self) -> str:
        """Return the entry as canonical JSON."""
        blobs = {name: None if blob is None else vars(blob) for name, blob in self._blobs().items()}
        return json.dumps({**vars(self), **blobs}, sort_keys=True, separators=(",", ":"))

    def _blobs(self) -> dict[str, Blob | None]:
        return {"file": self.file, "mask": self.mask, "original": self.original}

    @staticmethod
    def from_json(text: str) -> "Entry":
        """Read what ``to_json`` wrote."""
        fields: dict[str, Any] = json.loads(text)
        blobs = {name: Blob(**fields[name]) if fields[name] else None for name in ("file", "mask", "original")}
        return Entry(**(fields | blobs | {"links": tuple(fields["links"])}))


@dataclass(frozen=True)
class Rejection:
    """An input that was left out: its key, a stable reason code, and a sentence for a person."""

    name: str
    reason: str
    detail: str

    def to_json(self) -> str:
        """Return the line of ``rejected.jsonl``, without its line end; ASCII, whatever the name holds."""
        return json.dumps(asdict(self), sort_keys=True)
