"""The schema of ``bundle.json``: everything a server must know to judge a picture, and the hash of every file."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bundle.regions.verdict import OperatingPoint
from core.settings import Settings
from media.spec import ExtractionSpec, InputSpec

BUNDLE_FILE = "bundle.json"
CARD_FILE = "card.md"
SEAL = "content_sha256"  # the key of bundle.json that holds the digest of all others

Format = Literal["torchscript", "onnx"]
FORMAT_FILES: dict[Format, str] = {"torchscript": "model.ts", "onnx": "model.onnx"}
CLIP_FILES: dict[Format, str] = {"torchscript": "clip.ts", "onnx": "clip.onnx"}

Task = Literal["segmentation", "classification"]
FrameOutput = Literal["logits", "vectors", "heatmap"]

WEIGHT_SUM_TOLERANCE = 1e-3  # weights are stored with six decimals

# A part of a path starts with a letter, a digit or an underscore: ".", ".." and absolute paths cannot be written.
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"


def _name(value: str) -> str:
    if not re.fullmatch(_PART, value):
        raise ValueError("letters, digits, '.', '_' and '-' are allowed, at most 128, not starting with '.' or '-'")
    return value


def _inside(value: str) -> str:
    if not re.fullmatch(f"{_PART}(/{_PART})*", value):
        raise ValueError("must be a path relative to the bundle and inside it")
    return value


Name = Annotated[str, AfterValidator(_name)]
RelativePath = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BundleFile(Settings):
    """One file of the bundle: its path relative to ``bundle.json``, size in bytes and SHA-256."""

    path: RelativePath
    sha256: Sha256
    size: int = Field(ge=0)


class BundleMember(Settings):
    """One network of the ensemble.

    Its probability of a pixel, a frame or a clip being manipulated is ``sigmoid(logit / temperature)``.
    ``operating_point`` is for the member's own opinion; the verdict is the ensemble's. ``metrics`` were measured on
    val, None where undefined.

    A classifier of faces has the ``outputs`` of its frame network, in order, with float32 shapes: ``logits`` [B, 1] of
    each frame alone, and where it has them ``vectors`` [B, ``vector_width``] and ``heatmap`` [B, 1, h, w] in 0..1, with
    ``heatmap_size`` h, w. ``clip_files`` is its second network, which judges a clip from the vectors of its frames:
    ``vectors`` float32 [B, T, D], padded to T = ``input.frames``, and ``lengths`` int64 [B] to ``logits`` [B, 1].
    Without it a face is judged by the mean probability of its frames.
    """

    name: Name
    family: str
    task: Task = "segmentation"
    labels: tuple[str, ...]
    input: InputSpec
    weight: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    operating_point: OperatingPoint
    metrics: dict[str, float | None] = {}
    checkpoint_sha256: Sha256
    files: dict[Format, BundleFile] = Field(min_length=1)
    outputs: tuple[FrameOutput, ...] = ("logits",)
    vector_width: int | None = Field(default=None, ge=1)
    heatmap_size: tuple[int, int] | None = None
    clip_files: dict[Format, BundleFile] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.outputs[:1] != ("logits",) or len(set(self.outputs)) != len(self.outputs):
            raise ValueError(f"outputs = {self.outputs}: must begin with logits, each once")
        if self.task == "segmentation" and (len(self.outputs) > 1 or self.clip_files):
            raise ValueError("a network that marks regions has logits and nothing else")
        for name, value in (("vectors", self.vector_width), ("heatmap", self.heatmap_size)):
            if (name in self.outputs) != (value is not None):
                raise ValueError(f"the output {name} and its size go together")
        if self.clip_files and (set(self.clip_files) != set(self.files) or "vectors" not in self.outputs):
            raise ValueError("a clip network needs vectors, and comes in the same formats as the frame network")
        return self


class Bundle(Settings):
    """The whole of ``bundle.json``.

    ``operating_point`` holds for the weighted mean of the members' probabilities; ``metrics`` are the ensemble's on
    val. Of a bundle of classifiers only its threshold counts: for the probability of a medium
    (``bundle.faces.scores``). ``made_with`` names the versions of the libraries that wrote the files.
    """

    format_version: Literal[1] = 1
    name: Name
    version: Name
    task: Task = "segmentation"
    labels: tuple[str, ...]
    operating_point: OperatingPoint
    extraction: ExtractionSpec
    members: tuple[BundleMember, ...] = Field(min_length=1)
    metrics: dict[str, float | None] = {}
    card: BundleFile
    dataset_sha256: Sha256
    git_sha: str
    made_with: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"two members have the same name: {', '.join(sorted(names))}")
        if abs(sum(member.weight for member in self.members) - 1.0) > WEIGHT_SUM_TOLERANCE:
            raise ValueError(f"the members' weights must sum to 1: {[member.weight for member in self.members]}")
        if len({frozenset(member.files) for member in self.members}) != 1:
            raise ValueError("every member must come in the same formats")
        if any(member.task != self.task for member in self.members):
            raise ValueError(f"every member must be of the bundle's task {self.task}")
        if self.task == "classification" and self.extraction.faces is None:
            raise ValueError("classifiers judge faces: extraction.faces must say how they are cut")
        paths = [file.path for file in self.all_files()]
        if len(set(paths)) != len(paths) or BUNDLE_FILE in paths:
            raise ValueError("a path is used twice")
        return self

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats every member comes in, sorted."""
        return tuple(sorted(self.members[0].files))

    def all_files(self) -> list[BundleFile]:
        """Return every file except ``bundle.json``, sorted by path."""
        files = [file for member in self.members for file in (*member.files.values(), *member.clip_files.values())]
        return sorted([*files, self.card], key=lambda file: file.path)

    def to_document(self) -> bytes:
        """Return the bytes of ``bundle.json``; the bundle's SHA-256 is that of these bytes."""
        return seal(self.model_dump(mode="json"))


def seal(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of ``bundle.json``: its content as canonical JSON, with the content's own SHA-256 in it.

    The seal tells a damaged file by itself; it is no proof of who wrote it, which the release pointer's digest is.
    """
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    return _canonical({**content, SEAL: digest})


def _canonical(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def member_path(name: str, kind: Format) -> str:
    """Return where a member's network lies in the bundle: ``members/<name>/model.ts`` or ``model.onnx``."""
    return f"members/{name}/{FORMAT_FILES[kind]}"


def clip_path(name: str, kind: Format) -> str:
    """Return where a member's clip network lies in the bundle: ``members/<name>/clip.ts`` or ``clip.onnx``."""
    return f"members/{name}/{CLIP_FILES[kind]}"
