"""The preprocessing specification: what happens to pixels between a file and a network, as one versioned object."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from media.errors import MismatchError
from media.settings import Settings, validate

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DetectorSpec(Settings):
    """The face detector whose boxes were used, and the hash of its weights."""

    name: str
    sha256: str


class ExtractionSpec(Settings):
    """How a sample's stored pixels came to be; fixed by the extraction step and equal for all that share an index.

    ``frames`` is ``still`` for photographs. The fields about faces stay None where no face is cut out.
    """

    decoder: Literal["pillow"] = "pillow"
    frames: Literal["still"] = "still"
    detector: DetectorSpec | None = None
    crop_margin: float | None = Field(default=None, gt=0)
    alignment: Literal["none", "landmarks5"] = "none"
    crop_size: int | None = Field(default=None, ge=16, le=4096)
    store: Literal["original", "png"] = "original"


class ElaSpec(Settings):
    """Error level analysis: ``scale`` × |picture - its JPEG at ``quality``|, clipped to 0..255."""

    quality: int = Field(default=90, ge=1, le=100)
    scale: float = Field(default=15.0, gt=0)


class InputSpec(Settings):
    """How stored pixels become a network's input; a member's own, travels in its checkpoint and in the bundle.

    A picture is judged at its own resolution in square tiles of ``size`` px that overlap by ``overlap`` px; a side
    shorter than a tile is padded by reflection. ``mean`` and ``std`` are per channel, for pixels scaled to 0..1.
    """

    size: int = Field(default=512, ge=32, le=4096, multiple_of=32)
    overlap: int = Field(default=64, ge=0)
    channel_order: Literal["RGB"] = "RGB"
    resize_filter: Literal["linear", "cubic", "area", "lanczos"] = "linear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    ela: ElaSpec | None = None

    @property
    def channels(self) -> int:
        """Number of input channels: 3, or 6 with error level analysis."""
        return 6 if self.ela else 3


def _sha256(settings: Settings) -> str:
    return hashlib.sha256(settings.to_json().encode()).hexdigest()


class PreprocessingSpec(Settings):
    """Extraction and input together; ``sha256`` identifies the whole, ``extraction_sha256`` the stored pixels."""

    version: Literal[1] = 1
    extraction: ExtractionSpec = ExtractionSpec()
    input: InputSpec = InputSpec()

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the canonical JSON of the whole specification."""
        return _sha256(self)

    @property
    def extraction_sha256(self) -> str:
        """Hex SHA-256 of the canonical JSON of the extraction part."""
        return _sha256(self.extraction)

    def to_document(self) -> str:
        """Return what ``spec.json`` holds: the specification, its hash and its extraction part's hash."""
        document = {
            "spec": self.model_dump(mode="json"),
            "sha256": self.sha256,
            "extraction_sha256": self.extraction_sha256,
        }
        return json.dumps(document, indent=2, sort_keys=True) + "\n"


def read_spec(path: Path) -> PreprocessingSpec:
    """Read ``spec.json`` and check that it is what its hash says.

    Raises:
        MismatchError: when the hash in the file is not that of its specification.
        SettingsError: when the specification does not validate.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    spec = validate(PreprocessingSpec, document["spec"], str(path))
    if spec.sha256 != document["sha256"]:
        raise MismatchError(f"{path}: says sha256 {document['sha256']}, its specification hashes to {spec.sha256}")
    return spec


def require_same_extraction(left: PreprocessingSpec, left_name: str, right: PreprocessingSpec, right_name: str) -> None:
    """Check that two artifacts were made from equally stored pixels.

    Raises:
        MismatchError: naming both sides, their hashes, and the fields that differ.
    """
    if left.extraction == right.extraction:
        return
    a, b = left.extraction.model_dump(), right.extraction.model_dump()
    differing = ", ".join(f"{k}: {a[k]!r} against {b[k]!r}" for k in a if a[k] != b[k])
    raise MismatchError(
        f"{left_name} was extracted with specification {left.extraction_sha256[:12]}, {right_name} with "
        f"{right.extraction_sha256[:12]} ({differing}); extract one of them again"
    )
