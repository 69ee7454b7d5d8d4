"""Exporting a network that takes arrays by name, in each form, as the tests of all families need it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

OPSET = 18
Arrays = Mapping[str, Tensor]
Run = Callable[[Arrays], list[np.ndarray]]


class Positional(nn.Module):
    """Takes arrays in the order of ``names``, which is how graphs are called, and hands them on by name."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)

    def forward(self, *arrays: Tensor) -> Any:
        return self.network(dict(zip(self.names, arrays, strict=True)))


def eager(network: nn.Module, examples: Arrays, path: Path) -> Run:
    return lambda arrays: [output.numpy() for output in network(dict(arrays))]


def torchscript(network: nn.Module, examples: Arrays, path: Path) -> Run:
    whole = Positional(network, tuple(examples)).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=Warning)
        traced: Any = torch.jit.trace(whole, tuple(examples.values()), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(torch.jit.freeze(traced), path)
        loaded = torch.jit.load(path)
    return lambda arrays: [output.detach().numpy() for output in loaded(*arrays.values())]


def onnx(network: nn.Module, examples: Arrays, path: Path) -> Run:
    batch = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        Positional(network, tuple(examples)).eval(),
        tuple(examples.values()),
        path,
        input_names=list(examples),
        opset_version=OPSET,
        dynamic_shapes=(tuple({0: batch} for _ in examples),),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(None, {name: array.numpy() for name, array in arrays.items()})


FORMS = {"eager": eager, "torchscript": torchscript, "onnx": onnx}
