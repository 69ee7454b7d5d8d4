"""The schema of ``bundle.json``: everything a server must know to judge a picture, and the hash of every file."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from media.settings import Settings
from media.spec import ExtractionSpec, InputSpec
from media.verdict import OperatingPoint

BUNDLE_FILE = "bundle.json"
CARD_FILE = "card.md"
SEAL = "content_sha256"  # the key of bundle.json that holds the digest of all others

Format = Literal["torchscript", "onnx"]
FORMAT_FILES: dict[Format, str] = {"torchscript": "model.ts", "onnx": "model.onnx"}

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

    Its probability of a pixel being forged is ``sigmoid(logit / temperature)``. ``operating_point`` is for the
    member's own opinion; the verdict is the ensemble's. ``metrics`` were measured on val, None where undefined.
    """

    name: Name
    family: str
    task: Literal["segmentation"] = "segmentation"
    labels: tuple[str, ...]
    input: InputSpec
    weight: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    operating_point: OperatingPoint
    metrics: dict[str, float | None] = {}
    checkpoint_sha256: Sha256
    files: dict[Format, BundleFile] = Field(min_length=1)


class Bundle(Settings):
    """The whole of ``bundle.json``.

    ``operating_point`` holds for the weighted mean of the members' probabilities; ``metrics`` are the ensemble's on
    val. ``made_with`` names the versions of the libraries that wrote the files.
    """

    format_version: Literal[1] = 1
    name: Name
    version: Name
    task: Literal["segmentation"] = "segmentation"
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
    def _consistent(self) -> "Bundle":
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"two members have the same name: {', '.join(sorted(names))}")
        if abs(sum(member.weight for member in self.members) - 1.0) > WEIGHT_SUM_TOLERANCE:
            raise ValueError(f"the members' weights must sum to 1: {[member.weight for member in self.members]}")
        if len({frozenset(member.files) for member in self.members}) != 1:
            raise ValueError("every member must come in the same formats")
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
        files = [file for member in self.members for file in member.files.values()]
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
