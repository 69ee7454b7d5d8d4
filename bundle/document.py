"""The schema of ``bundle.json``: everything a server must know to analyze a medium, and the hash of every file."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, Field, SerializeAsAny, model_validator

from core.errors import SettingsError
from core.registry import Registry
from core.settings import Settings, validate
from media.extraction import ExtractionSpec
from media.spec import InputSpec
from media.tensors import TensorSpec

BUNDLE_FILE = "bundle.json"
CARD_FILE = "card.md"
SEAL = "content_sha256"  # the key of bundle.json that holds the digest of all others

Format = Literal["torchscript", "onnx"]
FORMAT_SUFFIXES: dict[Format, str] = {"torchscript": ".ts", "onnx": ".onnx"}
INT8_SUFFIX = ".int8.onnx"
Precision = Literal["fp32", "int8"]
MODEL, CLIP = "model", "clip"  # names of a member's networks
HEATMAP = "heatmap"  # name of the output that shows where an item looks manipulated, 0..1

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


class Decisive(Protocol):
    """What the document needs of a task; ``bundle.task`` has all of it."""

    decision: type[Settings]

    def check(self, bundle: "Bundle") -> None:
        """Raise ValueError when the document does not suit the task."""


_TASKS: Registry[Decisive] = Registry("bundle", "TASK", "task", folders=True)


class ExportedNetwork(Settings):
    """One exported network: its arrays without the batch, in order, and its files."""

    inputs: dict[str, TensorSpec] = Field(min_length=1)
    """Input arrays by name; of the network called ``model`` they are the member's views. TorchScript takes them in this
    order."""
    outputs: dict[str, TensorSpec] = Field(min_length=1)
    """Output arrays by name, in the order in which they are returned; ``logits`` comes first."""
    files: dict[Format, BundleFile] = Field(min_length=1)
    """By format, in float32."""
    int8: BundleFile | None = None
    """ONNX with weights and activations of 8 bits, run only where it is asked for; None where there is none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if next(iter(self.outputs)) != "logits":
            raise ValueError(f"outputs = {', '.join(self.outputs)}: must begin with logits")
        return self


class Int8Outcome(Settings):
    """What came of writing a member in INT8: its figure on val, and how fast it is, against its float ONNX."""

    figure: str
    """Which figure of the task: ``auc``, ``f1`` or another; higher is better."""
    fp32: float | None
    """Of the float ONNX, None where undefined."""
    int8: float | None
    """Of the network in INT8."""
    speedup: float = Field(ge=0)
    """Its throughput / that of the float ONNX, a thread each, on the processor that exported."""
    refused: str | None = None
    """Why it was not written; None where it was."""


class BundleMember(Settings):
    """One member of the ensemble; its probability is ``sigmoid(logit / temperature)``."""

    name: Name
    """Unique in the bundle."""
    family: str
    """Of its networks."""
    input: InputSpec
    """What its network ``model`` reads."""
    weight: float = Field(ge=0, le=1)
    """Its share in the ensemble; those of all members sum to 1."""
    temperature: float = Field(gt=0)
    """Logits are divided by it."""
    decision: SerializeAsAny[Settings]
    """For the member's own opinion, of the task's class; the verdict is the ensemble's."""
    metrics: dict[str, float | None] = {}
    """Measured on val, None where undefined."""
    checkpoint_sha256: Sha256
    """Of the checkpoint it was exported from."""
    networks: dict[Name, ExportedNetwork]
    """``model`` reads the views. ``clip``, where there is one, judges a clip from the ``vectors`` that ``model`` gives
    of its frames, padded to ``input.frames``, and its ``lengths``."""
    int8: Int8Outcome | None = None
    """What came of writing ``model`` in INT8; None where that was not asked for."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if MODEL not in self.networks:
            raise ValueError(f"networks = {', '.join(self.networks)}: one must be called {MODEL}")
        if list(self.networks[MODEL].inputs.items()) != list(self.input.signature.items()):
            raise ValueError(f"networks.{MODEL}.inputs are not the views of input")
        if len({frozenset(network.files) for network in self.networks.values()}) != 1:
            raise ValueError("all networks of a member come in the same formats")
        written = any(network.int8 for network in self.networks.values())
        if written != (self.int8 is not None and self.int8.refused is None):
            raise ValueError("int8: there are files in INT8 exactly where they were not refused")
        if CLIP in self.networks and "vectors" not in self.networks[MODEL].outputs:
            raise ValueError(f"a network {CLIP} needs the output vectors of {MODEL}")
        return self

    @property
    def model(self) -> ExportedNetwork:
        """The network that reads the views."""
        return self.networks[MODEL]


class Bundle(Settings):
    """The whole of ``bundle.json``."""

    format_version: Literal[2] = 2
    """Of this document."""
    name: Name
    """Releases of one name replace each other."""
    version: Name
    """Unique among the releases of a name."""
    task: str
    """What kind of question is answered."""
    classes: tuple[str, ...] = Field(min_length=2)
    """Names of the labels 0, 1 and so on."""
    decision: SerializeAsAny[Settings]
    """For the ensemble's verdict, of the task's class."""
    extraction: ExtractionSpec
    """How the samples came to be that the members learned from."""
    members: tuple[BundleMember, ...] = Field(min_length=1)
    """The ensemble."""
    metrics: dict[str, float | None] = {}
    """The ensemble's on val."""
    card: BundleFile
    """The model card."""
    dataset_sha256: Sha256
    """Of the index that was fitted on."""
    git_sha: str
    """Of the commit that wrote the files."""
    made_with: dict[str, str] = {}
    """Versions of the libraries that wrote the files."""

    @model_validator(mode="before")
    @classmethod
    def _read_decisions(cls, data: Any) -> Any:
        """Read every decision with the settings class of the task."""
        if not isinstance(data, dict) or not isinstance(data.get("task"), str):
            return data
        try:
            kind = _TASKS.get(data["task"]).decision
            read = _with_decision(data, kind, "decision")
            if isinstance(members := data.get("members"), list | tuple):
                read["members"] = [
                    _with_decision(member, kind, f"members.{number}.decision") for number, member in enumerate(members)
                ]
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return read

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"two members have the same name: {', '.join(sorted(names))}")
        if abs(sum(member.weight for member in self.members) - 1.0) > WEIGHT_SUM_TOLERANCE:
            raise ValueError(f"the members' weights must sum to 1: {[member.weight for member in self.members]}")
        if len({frozenset(member.model.files) for member in self.members}) != 1:
            raise ValueError("every member must come in the same formats")
        self._check_task()
        paths = [file.path for file in self.all_files()]
        if len(set(paths)) != len(paths) or BUNDLE_FILE in paths:
            raise ValueError("a path is used twice")
        return self

    def _check_task(self) -> None:
        task = _TASKS.get(self.task)
        decisions = [self.decision, *(member.decision for member in self.members)]
        if not all(isinstance(decision, task.decision) for decision in decisions):
            raise ValueError(f"the decisions of the task {self.task} are of {task.decision.__name__}")
        task.check(self)

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats every member comes in, sorted."""
        return tuple(sorted(self.members[0].model.files))

    def all_files(self) -> list[BundleFile]:
        """Return every file except ``bundle.json``, sorted by path."""
        networks = [network for member in self.members for network in member.networks.values()]
        files = [file for network in networks for file in network.files.values()]
        quantized = [network.int8 for network in networks if network.int8]
        return sorted([*files, *quantized, self.card], key=lambda file: file.path)

    def to_document(self) -> bytes:
        """Return the bytes of ``bundle.json``; the bundle's SHA-256 is that of these bytes."""
        return seal(self.model_dump(mode="json"))


def _with_decision(data: Any, kind: type[Settings], origin: str) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get("decision"), Mapping):
        return data
    return {**data, "decision": validate(kind, data["decision"], origin)}


def seal(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of ``bundle.json``: its content as JSON in the order given, with its own SHA-256 at the end.

    The seal tells a damaged file by itself; it is no proof of who wrote it, which the release pointer's digest is.
    """
    return _json({**content, SEAL: hashlib.sha256(_json(content)).hexdigest()})


def _json(content: Mapping[str, Any]) -> bytes:
    # Keys are not sorted: networks take their inputs and return their outputs in the order of the document.
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def network_path(member: str, network: str, kind: Format) -> str:
    """Return where a member's network lies in the bundle, such as ``members/<name>/model.ts`` or ``clip.onnx``."""
    return f"members/{member}/{network}{FORMAT_SUFFIXES[kind]}"


def int8_path(member: str, network: str) -> str:
    """Return where a member's network in INT8 lies in the bundle: ``members/<name>/model.int8.onnx``."""
    return f"members/{member}/{network}{INT8_SUFFIX}"
