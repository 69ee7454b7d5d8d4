"""The Open Inference Protocol V2 whatever carries it: which models there are, what they read, and running them.

Source: "Open Inference Protocol (V2 Inference Protocol)" of KServe. The bundle itself is a model that analyzes a
picture of any size; every member is one that maps a batch of its views to its network's outputs, named
``<bundle>.<member>``. A transport decodes tensors after ``require_request`` has accepted what they announce, and calls
``infer``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bundle.analyzers import Analyzer, Category, RequestError, Workbench
from bundle.document import Bundle
from bundle.work import Stages, in_thread
from core.errors import unknown_name
from media.tensors import DATATYPES, TensorSpec

ELEMENTS_A_PIXEL = 3  # of a picture


class TensorMetadata(BaseModel):
    """Name, type and shape of a tensor; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """Answer of ``/v2/models/{name}``."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


@dataclass(frozen=True)
class Model:
    """A model of the protocol; ``member`` is None for the bundle itself."""

    metadata: ModelMetadata
    member: str | None


class DataPlane:
    """The models of one bundle.

    Args:
        analyzer: of the bundle.
        workbench: runs the members.
        platform: what runs the networks, in the protocol's words.
    """

    def __init__(self, analyzer: Analyzer[Any], workbench: Workbench, platform: str) -> None:
        self._analyzer = analyzer
        self._workbench = workbench
        self._max_elements = ELEMENTS_A_PIXEL * workbench.limits.max_pixels
        models = describe_models(analyzer.document, analyzer.inputs, analyzer.outputs, platform)
        self._models = {model.metadata.name: model for model in models}

    @property
    def names(self) -> list[str]:
        """Names of all models; the bundle's comes first."""
        return list(self._models)

    def find(self, name: str) -> Model:
        """Return the model of this name.

        Raises:
            RequestError: unknown, with a suggestion.
        """
        if name not in self._models:
            raise RequestError(Category.UNKNOWN, "unknown-model", str(unknown_name("model", name, self._models)))
        return self._models[name]

    def require_request(self, model: Model, inputs: Sequence[TensorMetadata], outputs: Sequence[str]) -> None:
        """Check what a request announces, before any of its numbers is decoded.

        Args:
            model: that is to run.
            inputs: name, type and shape of each tensor, as the request says.
            outputs: names of those asked for.

        Raises:
            RequestError: malformed when a tensor or an output is none of the model's; unusable when there are too many
                numbers.
        """
        require_inputs(model, inputs, self._max_elements)
        chosen_outputs(model.metadata, outputs)

    async def infer(
        self, model: Model, arrays: Mapping[str, NDArray[Any]], outputs: Sequence[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Run a model.

        Args:
            model: one of these.
            arrays: each of its inputs, by name.
            outputs: names of those asked for; none for all.

        Returns:
            The outputs asked for, by name.

        Raises:
            RequestError: as ``require_request``, and malformed when a number is not finite; and as the analyzer.
        """
        chosen = chosen_outputs(model.metadata, outputs)
        require_inputs(model, [announced(name, array) for name, array in arrays.items()], self._max_elements)
        if any(array.dtype.kind == "f" for array in arrays.values()):
            await in_thread(self._workbench.pool, require_finite, arrays)
        found = await self._run(model, arrays)
        return {name: found[name] for name in chosen}

    async def _run(self, model: Model, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        if model.member is None:
            return await self._analyzer.infer(arrays)
        count = len(next(iter(arrays.values())))
        items = [{name: array[row] for name, array in arrays.items()} for row in range(count)]
        found = await self._workbench.infer({model.member: items}, Stages(("inference", "queue")))
        return found[model.member]


def describe_models(
    document: Bundle, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], platform: str
) -> list[Model]:
    """Describe the bundle, whose whole inputs and outputs are given, and its members, which map batches."""

    def describe(
        member: str | None, reads: Mapping[str, TensorSpec], gives: Mapping[str, TensorSpec], batch: Sequence[int]
    ) -> Model:
        metadata = ModelMetadata(
            name=document.name if member is None else f"{document.name}.{member}",
            versions=[document.version],
            platform=platform,
            inputs=_describe_tensors(reads, batch),
            outputs=_describe_tensors(gives, batch),
        )
        return Model(metadata, member)

    members = [describe(member.name, member.model.inputs, member.model.outputs, (-1,)) for member in document.members]
    return [describe(None, inputs, outputs, ()), *members]


def _describe_tensors(specs: Mapping[str, TensorSpec], batch: Sequence[int]) -> list[TensorMetadata]:
    return [
        TensorMetadata(name=name, datatype=spec.datatype, shape=[*batch, *spec.shape]) for name, spec in specs.items()
    ]


def announced(name: str, array: NDArray[Any]) -> TensorMetadata:
    """Return what a request says of an array before its numbers.

    Raises:
        RequestError: malformed when the protocol, or this server, has no word for its type.
    """
    words = {np.dtype(kind): word for word, kind in DATATYPES.items()}
    if array.dtype not in words:
        raise malformed(f"{name} has the type {array.dtype}, allowed are {', '.join(DATATYPES)}")
    return TensorMetadata(name=name, datatype=words[array.dtype], shape=list(array.shape))


def require_inputs(model: Model, given: Sequence[TensorMetadata], max_elements: int) -> None:
    """Check name, type and shape of a request's tensors.

    Args:
        model: that is to run; -1 in its shapes takes any size from 1 up, and in first place the same size in all of
            its tensors: the batch.
        given: as the request says.
        max_elements: most numbers that the tensors may have together.

    Raises:
        RequestError: malformed when they are not what the model reads; unusable when they have too many numbers.
    """
    expected = {tensor.name: tensor for tensor in model.metadata.inputs}
    names = [tensor.name for tensor in given]
    if sorted(names) != sorted(expected):
        these = ", ".join(map(repr, expected))
        called = f"input is called {these}" if len(expected) == 1 else f"inputs are called {these}"
        raise malformed(f"this model's {called}, not {', '.join(map(repr, names))}")
    count = 0
    for tensor in given:
        _require_tensor(tensor, expected[tensor.name])
        elements = 1
        for side in tensor.shape:
            elements *= side
        count += elements
    if count > max_elements:
        detail = f"{' and '.join(names)} would have too many numbers; at most {max_elements:,} go"
        raise RequestError(Category.UNUSABLE, "too-many-pixels", detail)
    # The inputs of the bundle itself are no batches.
    if model.member is not None and len({tensor.shape[0] for tensor in given}) > 1:
        raise malformed("the tensors are of batches of different sizes: " + ", ".join(str(one.shape) for one in given))


def _require_tensor(given: TensorMetadata, expected: TensorMetadata) -> None:
    if given.datatype != expected.datatype:
        raise malformed(f"{given.name} has the type {given.datatype}, expected is {expected.datatype}")
    fits = len(given.shape) == len(expected.shape) and all(
        side >= 1 and allowed in (-1, side) for side, allowed in zip(given.shape, expected.shape, strict=True)
    )
    if not fits:
        raise malformed(f"{given.name} has shape {given.shape}, expected is {expected.shape} with -1 for any size")


def require_finite(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check that no number is NaN or infinite.

    Raises:
        RequestError: malformed, naming the tensor.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise malformed(f"the data of {name} must be finite numbers of single precision")


def chosen_outputs(model: ModelMetadata, names: Sequence[str]) -> list[str]:
    """Return the names of the outputs to send, each once: those asked for, all where none was.

    Raises:
        RequestError: malformed when a name is not one of the model's.
    """
    known = [output.name for output in model.outputs]
    for name in names:
        if name not in known:
            raise malformed(f"this model has no output {name!r}; it has {', '.join(known)}")
    return list(dict.fromkeys(names)) or known


def malformed(detail: str) -> RequestError:
    """Refuse a request that cannot be read."""
    return RequestError(Category.MALFORMED, "bad-request", detail)
