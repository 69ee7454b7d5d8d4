"""Quantising an exported network: ONNX Runtime's static quantisation to INT8, written as QDQ pairs of operators."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bundle.runtimes import disable_telemetry
from components.export.formats import ExportError
from core.files import write_bytes

Arrays = Mapping[str, NDArray[Any]]

PRODUCTS = ("MatMul", "Gemm")
# Convolutions, products, and what lies between them, so that values stay in 8 bits from one to the next. Normalisation
# over a picture and sigmoids gain no time from it, and lose digits.
OPERATORS = (
    "Conv",
    *PRODUCTS,
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "GlobalAveragePool",
    "MaxPool",
    "Relu",
    "Resize",
)
STEM = 3  # convolutions in a row, from the pixels on, that stay in float


def quantize(source: Path, target: Path, batches: Sequence[Arrays]) -> None:
    """Write an ONNX network in INT8 beside the float one.

    Weights are int8 with a scale a channel, activations uint8 with one a tensor, from the smallest and the largest
    value seen. What the file says of itself (its properties) stays.

    Args:
        source: the float network.
        target: where to.
        batches: inputs by name [B, ...] that the ranges of activations are taken from, at least one.

    Raises:
        ExportError: when ONNX Runtime cannot quantise the network.
    """
    disable_telemetry()
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Items one by one, so that memory does not grow with the batch."""

        def __init__(self) -> None:
            self._items = _items(batches)

        def get_next(self) -> Arrays | None:
            """Return the next item as a batch of one, None after the last."""
            return next(self._items, None)

    with TemporaryDirectory(prefix="veriframe-int8-") as folder:
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            quantization.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(written),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                op_types_to_quantize=list(OPERATORS),
                nodes_to_exclude=_left_in_float(onnx.load(prepared)),
            )
            model = onnx.load(written)
        except Exception as error:  # the library raises anything, and never names the file
            raise ExportError(f"{source.parent.name} cannot be quantised: {error!r}") from error
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(source, load_external_data=False).metadata_props)
    model.doc_string = model.graph.doc_string = ""
    onnx.checker.check_model(model)
    write_bytes(target, model.SerializeToString(deterministic=True))


def _items(batches: Sequence[Arrays]) -> Iterator[Arrays]:
    for batch in batches:
        for row in range(len(next(iter(batch.values())))):
            yield {name: np.ascontiguousarray(array[row : row + 1]) for name, array in batch.items()}


def _left_in_float(model: onnx.ModelProto) -> list[str]:
    """Name the operators that stay: of the stem, products of two activations, and products of a vector an item.

    The stem sees traces of a few grey levels, which every later layer builds on. The last are the heads that make
    logits of pooled features: they cost next to nothing and decide.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.value_info, *graph.input)}
    depths: dict[str, int] = {}  # convolutions between the inputs and a value, at most
    left = []
    for node in graph.node:  # in an order in which every value is made before it is read
        depth = max((depths.get(name, 0) for name in node.input), default=0) + (node.op_type == "Conv")
        depths |= dict.fromkeys(node.output, depth)
        product = node.op_type in PRODUCTS
        vectors = product and (node.input[1] not in constants or ranks.get(node.input[0], 0) < 3)
        if vectors or (depth <= STEM and not product):
            left.append(node.name)
    return left
