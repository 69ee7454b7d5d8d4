"""Writing a network as TorchScript and as ONNX: the one module that calls torch.jit and torch.onnx to export."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from bundle.runtimes import METADATA_KEY
from core.errors import VeriframeError
from core.files import write_bytes

EXAMPLE_BATCH = 2  # torch.export takes a batch of 1 for a constant


class ExportError(VeriframeError):
    """A network cannot be written in a format."""


class Exported(nn.Module):
    """What is exported: pixels in, logits out, so that no runtime needs to know how to normalise.

    Shape:
        - Input: [B, C, S, S] uint8.
        - Output: float32, that of ``network``: logits [B, 1, S, S] of regions, or the outputs of ``FaceParts.frames``.
    """

    def __init__(self, normalise: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, pixels: Tensor) -> Any:
        """Return what the network says of ``pixels``."""
        return self.network(self.normalise(pixels))


@contextmanager
def _without_deprecation() -> Iterator[None]:
    with warnings.catch_warnings():
        # TorchScript is deprecated as a whole; it is what servers without Python load.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=Warning)
        # group_norm compares a size with 1, which tracing takes for a decision about data.
        tracer = torch.jit.TracerWarning  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=tracer, module=r"torch\.nn\.functional")
        yield


def example_pixels(channels: int, size: int) -> Tensor:
    """Return grey pixels uint8 [2, C, S, S] to trace with."""
    return torch.full((EXAMPLE_BATCH, channels, size, size), 127, dtype=torch.uint8)


def example_clips(frames: int, width: int) -> tuple[Tensor, Tensor]:
    """Return vectors float32 [2, T, D] and lengths int64 [2] to trace a clip network with."""
    return torch.zeros(EXAMPLE_BATCH, frames, width), torch.full((EXAMPLE_BATCH,), frames, dtype=torch.int64)


def write_torchscript(network: nn.Module, examples: Tensor | tuple[Tensor, ...], path: Path, metadata: str) -> None:
    """Write a traced, frozen network.

    The bytes are the same whenever the same networks are exported in the same order by a fresh process: TorchScript
    numbers the classes it has made since the process began, and writes these numbers.

    Args:
        network: in evaluation mode, on the CPU.
        examples: its input or inputs, such as pixels uint8 [B, C, S, S], to trace with.
        path: where to.
        metadata: JSON that goes into the archive as an extra file.

    Raises:
        ExportError: when the network cannot be traced.
    """
    archive = io.BytesIO()
    try:
        with _without_deprecation(), torch.no_grad():
            # The parity gate checks more than trace's own check would.
            traced: Any = torch.jit.trace(network, examples, check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced)
            torch.jit.save(frozen, archive, _extra_files={METADATA_KEY: metadata})
    except (RuntimeError, TypeError) as error:
        raise ExportError(f"{path.parent.name} cannot be written as TorchScript: {error}") from error
    write_bytes(path, archive.getvalue())


def write_onnx(
    network: nn.Module,
    examples: Tensor | tuple[Tensor, ...],
    path: Path,
    metadata: str,
    opset: int,
    *,
    inputs: Sequence[str] = ("pixels",),
    outputs: Sequence[str] = ("logits",),
) -> None:
    """Write one ONNX file with a free batch size.

    Names of source files and stack traces that the exporter leaves in the graph are removed: they differ between
    machines and serve nobody who runs the file.

    Args:
        network: in evaluation mode, on the CPU.
        examples: its input or inputs, such as pixels uint8 [B, C, S, S], to export with, B ≥ 2.
        path: where to.
        metadata: JSON that goes into the file's properties.
        opset: version of the operators.
        inputs: what the inputs are called, which is what ``forward`` calls them.
        outputs: what the outputs are called.

    Raises:
        ExportError: when the network uses what ONNX cannot say.
    """
    batch = torch.export.Dim("batch", min=1)
    try:
        with warnings.catch_warnings():
            # Of two inputs that share a batch, the second has nothing left to name.
            warnings.filterwarnings("ignore", message="# The axis name: batch will not be used", category=UserWarning)
            program = torch.onnx.export(
                network,
                examples if isinstance(examples, tuple) else (examples,),
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=opset,
                dynamic_shapes={name: {0: batch} for name in inputs},
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
