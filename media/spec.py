"""The preprocessing specification: what happens to pixels between a file and a network, as one versioned object."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.errors import MismatchError
from core.settings import Settings, validate

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Of face_detection_yunet_2023mar.onnx as OpenCV's model zoo publishes it.
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


class DetectorSpec(Settings):
    """The face detector whose boxes are used, and the SHA-256 of its weights.

    ``long_side`` is what the longer side of a frame is scaled down to before it is searched, in px; ``every`` says that
    one of so many chosen frames is searched, and that the boxes of those in between are interpolated.
    """

    name: Literal["yunet"] = "yunet"
    sha256: str = YUNET_SHA256
    min_score: float = Field(default=0.6, gt=0, lt=1)
    long_side: int = Field(default=640, ge=64, le=4096)
    every: int = Field(default=4, ge=1)


class FaceSpec(Settings):
    """How faces are found and cut out.

    Attributes:
        detector: finds them.
        select: ``main`` keeps the most persistent face of a clip, ``all`` keeps every one.
        margin: side of the square crop / longer side of the face's box.
        alignment: ``landmarks5`` turns the crop so that the eyes lie level, by the detector's five landmarks.
        size: side of the stored crop in px.
        min_side: faces whose box has a shorter side than this, in px of the frame, are left out.
    """

    detector: DetectorSpec = DetectorSpec()
    select: Literal["main", "all"] = "main"
    margin: float = Field(default=1.3, ge=1, le=4)
    alignment: Literal["none", "landmarks5"] = "none"
    size: int = Field(default=256, ge=16, le=2048)
    min_side: int = Field(default=32, ge=1)


class EvenFrames(Settings):
    """``count`` frames spread evenly over the whole clip, first and last included; all of them in a shorter clip."""

    policy: Literal["even"] = "even"
    count: int = Field(default=32, ge=1, le=4096)


class ClipFrames(Settings):
    """``clips`` runs, spread evenly over the whole clip, of ``length`` frames each, ``stride`` frames apart."""

    policy: Literal["clips"] = "clips"
    clips: int = Field(default=4, ge=1, le=1024)
    length: int = Field(default=8, ge=1, le=1024)
    stride: int = Field(default=1, ge=1, le=1024)


class ExtractionSpec(Settings):
    """How a sample's stored pixels came to be; fixed by the extraction step and equal for all that share an index.

    ``frames`` is ``still`` for photographs, which are read with ``pillow``; frames of video are read with ``pyav``.
    ``faces`` is None where whole pictures are kept. Pictures that are face crops already are stored as they are, and
    ``faces`` then says how they were cut, so that a server cuts others likewise. ``jpeg_quality`` is read by ``jpeg``
    alone.
    """

    decoder: Literal["pillow", "pyav"] = "pillow"
    frames: Literal["still"] | EvenFrames | ClipFrames = "still"
    faces: FaceSpec | None = None
    store: Literal["original", "png", "jpeg"] = "original"
    jpeg_quality: int = Field(default=95, ge=1, le=100)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.decoder == "pyav") == (self.frames == "still"):
            raise ValueError("decoder pyav goes with a policy of frames, decoder pillow with frames = still")
        if self.decoder == "pyav" and self.store == "original":
            raise ValueError("frames of video have no bytes of their own: store must be png or jpeg")
        return self

    @property
    def look(self) -> dict[str, Any]:
        """What decides how a stored sample looks to a network, by field.

        For faces that is how they were cut. Which frames were chosen, how faces were found and in what they are stored
        may differ between data sets that one network learns from or judges.
        """
        if self.faces is None:
            return self.model_dump(mode="json")
        return {f"faces.{name}": getattr(self.faces, name) for name in ("margin", "alignment")}


class ElaSpec(Settings):
    """Error level analysis: ``scale`` × |picture - its JPEG at ``quality``|, clipped to 0..255."""

    quality: int = Field(default=90, ge=1, le=100)
    scale: float = Field(default=15.0, gt=0)


class InputSpec(Settings):
    """How stored pixels become a network's input; a member's own, travels in its checkpoint and in the bundle.

    With the view ``tiles`` a picture is judged at its own resolution in square tiles of ``size`` px that overlap by
    ``overlap`` px; a side shorter than a tile is padded by reflection. With the view ``whole`` the stored sample, a
    face crop, is scaled to ``size`` × ``size`` px with ``resize_filter``; with the view ``centre`` a window of that
    size in its middle is seen at its own resolution, because scaling removes the finest traces of a forgery.
    ``frames`` is how many frames of one face a network sees at most at one time: 1 for a network of single pictures,
    else the length of its clips. ``mean`` and ``std`` are per channel, for pixels scaled to 0..1.
    """

    view: Literal["tiles", "whole", "centre"] = "tiles"
    size: int = Field(default=512, ge=32, le=4096)
    frames: int = Field(default=1, ge=1, le=256)
    overlap: int = Field(default=64, ge=0)
    channel_order: Literal["RGB"] = "RGB"
    resize_filter: Literal["linear", "cubic", "area", "lanczos"] = "linear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    ela: ElaSpec | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.view == "tiles" and (self.size % 32 or self.frames > 1):
            raise ValueError("tiles have a size that is a multiple of 32, and are single pictures (frames = 1)")
        return self

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
    """Check that the samples of two artifacts look alike to a network (``ExtractionSpec.look``).

    Raises:
        MismatchError: naming both sides, their hashes, and the fields that differ.
    """
    a, b = left.extraction.look, right.extraction.look
    if a == b:
        return
    differing = ", ".join(f"{k}: {a.get(k)!r} against {b.get(k)!r}" for k in {**a, **b} if a.get(k) != b.get(k))
    raise MismatchError(
        f"{left_name} was extracted with specification {left.extraction_sha256[:12]}, {right_name} with "
        f"{right.extraction_sha256[:12]} ({differing}); extract one of them again"
    )
