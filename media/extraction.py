"""How samples come to be stored: which frames are read, how faces are found and cut out, in what they are stored."""

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from core.errors import MismatchError
from core.settings import Settings, validate

# Of face_detection_yunet_2023mar.onnx as OpenCV's model zoo publishes it.
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


class DetectorSpec(Settings):
    """The face detector whose boxes are used."""

    name: Literal["yunet"] = "yunet"
    """Which detector."""
    sha256: str = YUNET_SHA256
    """Of its weights."""
    min_score: float = Field(default=0.6, gt=0, lt=1)
    """Least score of a face, 0..1."""
    long_side: int = Field(default=640, ge=64, le=4096)
    """What the longer side of a frame is scaled down to before it is searched, in px."""
    every: int = Field(default=4, ge=1)
    """One of so many chosen frames is searched; the boxes of those in between are interpolated."""


class FaceSpec(Settings):
    """How faces are found, and how they are cut out to be stored."""

    detector: DetectorSpec = DetectorSpec()
    """Finds them."""
    select: Literal["main", "all"] = "main"
    """``main`` keeps the most persistent face of a clip, and of each run in which that is not seen the most persistent
    there; ``all`` keeps every one."""
    margin: float = Field(default=1.3, ge=1, le=8)
    """Side of the stored square / longer side of the face's box: as wide as the widest view of it. Of crops that exist
    already it says how they were cut."""
    max_side: int = Field(default=512, ge=16, le=4096)
    """Crops are stored at the frame's resolution; larger ones are scaled down to this side, in px."""
    min_side: int = Field(default=32, ge=1)
    """Faces whose box has a shorter side than this, in px of the frame, are left out."""


class EvenFrames(Settings):
    """Frames spread evenly over the whole clip, first and last included; all of them in a shorter clip."""

    policy: Literal["even"] = "even"
    """``even``."""
    count: int = Field(default=32, ge=1, le=4096)
    """How many."""


class ClipFrames(Settings):
    """Runs of consecutive frames, spread evenly over the whole clip."""

    policy: Literal["clips"] = "clips"
    """``clips``."""
    clips: int = Field(default=4, ge=1, le=1024)
    """How many runs."""
    length: int = Field(default=8, ge=1, le=1024)
    """Frames of a run."""
    stride: int = Field(default=1, ge=1, le=1024)
    """From one frame of a run to the next."""


class KeyFrames(Settings):
    """Frames that decode alone (the key frames), spread evenly over those that a clip has: the fastest, for archives.

    Which ones these are was the encoder's choice: often one in ten seconds, and where the scene changes; a short clip
    may have its first frame alone. They are compressed less than those between them. So how often a network sees a
    clip, and at which quality, depends on how the clip was encoded: train and judge on the same policy.
    """

    policy: Literal["keyframes"] = "keyframes"
    """``keyframes``."""
    count: int = Field(default=32, ge=1, le=4096)
    """The most that are taken of a clip; all it has, where these are fewer."""


FramePolicy = EvenFrames | ClipFrames | KeyFrames
"""Which frames of a clip are read."""


class ExtractionSpec(Settings):
    """How a sample's stored pixels came to be; fixed by the extraction step and equal for all that share an index."""

    decoder: Literal["pillow", "pyav"] = "pillow"
    """Pictures are read with ``pillow``, frames of video with ``pyav``."""
    frames: Literal["still"] | FramePolicy = "still"
    """Which frames are taken of a clip; ``still`` for pictures."""
    faces: FaceSpec | None = None
    """How faces are cut out; null where whole pictures are kept. Pictures that are face crops already are stored as
    they are, and this then says how they were cut, so that a server cuts others likewise."""
    store: Literal["original", "png", "jpeg"] = "original"
    """In what samples are stored; ``original`` keeps a picture's own bytes."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Of ``jpeg``, libjpeg's scale."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.decoder == "pyav") == (self.frames == "still"):
            raise ValueError("decoder pyav goes with a policy of frames, decoder pillow with frames = still")
        if self.decoder == "pyav" and self.store == "original":
            raise ValueError("frames of video have no bytes of their own: store must be png or jpeg")
        return self

    @property
    def of_pictures(self) -> bool:
        """Whether samples are pictures as they were given, rather than cut out of frames."""
        return self.decoder == "pillow"

    @property
    def step(self) -> int:
        """From one frame of a run to the next; 1 where frames are not taken in runs."""
        return self.frames.stride if isinstance(self.frames, ClipFrames) else 1


class SampleSpec(Settings):
    """What an index says of all its samples; its digest identifies it."""

    version: Literal[2] = 2
    """Of this document."""
    classes: tuple[str, ...] = Field(default=("authentic", "forged"), min_length=2)
    """Names of the labels 0, 1 and so on; that of 0 is what is authentic or normal."""
    extraction: ExtractionSpec = ExtractionSpec()
    """How the samples came to be."""

    def to_document(self) -> str:
        """Return what ``spec.json`` holds: the specification and its hash."""
        document = {"spec": self.model_dump(mode="json"), "sha256": self.digest}
        return json.dumps(document, indent=2, sort_keys=True) + "\n"


def read_spec(path: Path) -> SampleSpec:
    """Read ``spec.json`` and check that it is what its hash says.

    Raises:
        MismatchError: when the hash in the file is not that of its specification.
        SettingsError: when the specification does not validate.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    spec = validate(SampleSpec, document["spec"], str(path))
    if spec.digest != document["sha256"]:
        raise MismatchError(f"{path}: says sha256 {document['sha256']}, its specification hashes to {spec.digest}")
    return spec
