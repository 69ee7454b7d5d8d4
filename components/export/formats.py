"""Writing a network as TorchScript and as ONNX: the one module that calls torch.jit and torch.onnx to export."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from bundle.document import Format
from bundle.runtimes import METADATA_KEY
from core.errors import VeriframeError
from core.files import write_bytes
from media.tensors import TensorSpec
from models.network import Part

EXAMPLE_BATCH = 2  # torch.export takes a batch of 1 for a constant
EXAMPLE_VALUES = {"UINT8": 127, "INT64": 1, "FP32": 0, "BOOL": True}  # grey pixels, clips of one frame


class ExportError(VeriframeError):
    """A network cannot be written in a format."""


class Exported(nn.Module):
    """What is exported of a part: arrays in, in the order of the part's inputs, and a tuple of its outputs.

    Normalisation is inside, so that no runtime needs to know how to do it.

    Args:
        part: of a network, on the CPU.
        normalise: maps a mapping of arrays by name to what the part is called with; None calls it with them.

    Attributes:
        inputs: specifications of its arrays by name, in order.
        outputs: names of its outputs, in order.

    Shape:
        - Input: each [B, ...] as ``inputs`` says.
        - Output: float32 [B, ...] each.
    """

    def __init__(self, part: Part, normalise: nn.Module | None = None) -> None:
        super().__init__()
        self.inputs: Mapping[str, TensorSpec] = dict(part.inputs)
        self.outputs = tuple(part.outputs)
        self.normalise = nn.Identity() if normalise is None else normalise
        self.network = part.network

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a batch."""
        outputs: tuple[Tensor, ...] = self.network(self.normalise(dict(zip(self.inputs, arrays, strict=True))))
        return outputs

    def examples(self) -> tuple[Tensor, ...]:
        """Return a batch to trace with."""
        return tuple(
            torch.from_numpy(spec.example(EXAMPLE_BATCH)).fill_(EXAMPLE_VALUES[spec.datatype])
            for spec in self.inputs.values()
        )


@contextmanager
def _without_deprecation() -> Iterator[None]:
    with warnings.catch_warnings():
        # TorchScript is deprecated as a whole; it is what servers without Python load.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=Warning)
        # group_norm compares a size with 1, which tracing takes for a decision about data.
        tracer = torch.jit.TracerWarning  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=tracer, module=r"torch\.nn\.functional")
        yield


def write(network: Exported, kind: Format, path: Path, metadata: str, opset: int) -> None:
    """Write a network in one format.

    Args:
        network: in evaluation mode, on the CPU.
        kind: of the file.
        path: where to.
        metadata: JSON that goes into the file.
        opset: version of the operators of ONNX.

    Raises:
        ExportError: when the network cannot be written so.
    """
    if kind == "onnx":
        write_onnx(network, path, metadata, opset)
    else:
        write_torchscript(network, path, metadata)


def write_torchscript(network: Exported, path: Path, metadata: str) -> None:
    """Write a traced, frozen network.

    The bytes are the same whenever the same networks are exported in the same order by a fresh process: TorchScript
    numbers the classes it has made since the process began, and writes these numbers.

    Args:
        network: in evaluation mode, on the CPU.
        path: where to.
        metadata: JSON that goes into the archive as an extra file.

    Raises:
        ExportError: when the network cannot be traced.
    """
    archive = io.BytesIO()
    try:
        with _without_deprecation(), torch.no_grad():
            # The parity gate checks more than trace's own check would.
            traced: Any = torch.jit.trace(network, network.examples(), check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced)
            torch.jit.save(frozen, archive, _extra_files={METADATA_KEY: metadata})
    except (RuntimeError, TypeError) as error:
        raise ExportError(f"{path.parent.name} cannot be written as TorchScript: {error}") from error
    write_bytes(path, archive.getvalue())


def write_onnx(network: Exported, path: Path, metadata: str, opset: int) -> None:
    """Write one ONNX file with a free batch size.

    Names of source files and stack traces that the exporter leaves in the graph are removed: they differ between
    machines and serve nobody who runs the file.

    Args:
        network: in evaluation mode, on the CPU.
        path: where to.
        metadata: JSON that goes into the file's properties.
        opset: version of the operators.

    Raises:
        ExportError: when the network uses what ONNX cannot express.
    """
    batch = torch.export.Dim("batch", min=1)
    try:
        with warnings.catch_warnings():
            # Of inputs that share a batch, all but the first have nothing left to name.
            warnings.filterwarnings("ignore", message="# The axis name: batch will not be used", category=UserWarning)
            program = torch.onnx.export(
                network,
                network.examples(),
                input_names=list(network.inputs),
                output_names=list(network.outputs),
                opset_version=opset,
                dynamic_shapes=(tuple({0: batch} for _ in network.inputs),),
                dynamo=True,
                verbose=False,
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise ExportError(f"{path.parent.name} cannot be written as ONNX: {error}") from error
    if program is None:
        raise ExportError(f"{path.parent.name} cannot be written as ONNX: the exporter returned nothing")
    model = program.model_proto
    _strip(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString(deterministic=True))


def _strip(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
