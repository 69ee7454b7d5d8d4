"""The Open Inference Protocol V2 over JSON: requests to arrays, and arrays to answers."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media.tensors import DATATYPES
from serving.dataplane import DataPlane, Model, ModelMetadata, TensorMetadata, malformed

MOST_AXES, MOST_INPUTS, MOST_OUTPUTS = 8, 16, 8
# By type: what NumPy makes of JSON that may be such data, and how the data is described where it is not.
_ACCEPTED = {
    "UINT8": ("i", "integers from 0 to 255"),
    "INT64": ("i", "integers of 64 bits"),
    "FP32": ("if", "finite numbers of single precision"),
    "BOOL": ("b", "true or false"),
}


class InputTensor(BaseModel):
    """A tensor of the request: ``data`` nested as the shape says, or flat in row-major order.

    Of ``UINT8`` it is integers from 0 to 255, of ``INT64`` integers, of ``FP32`` finite numbers, of ``BOOL`` true and
    false.
    """

    model_config = ConfigDict(extra="ignore")
    name: str
    datatype: Literal["UINT8", "INT64", "FP32", "BOOL"]
    shape: list[int] = Field(min_length=1, max_length=MOST_AXES)
    data: list[Any]


class RequestedOutput(BaseModel):
    """The name of an output that is asked for."""

    model_config = ConfigDict(extra="ignore")
    name: str


class InferenceRequest(BaseModel):
    """The body of an inference request; parameters are accepted and ignored."""

    model_config = ConfigDict(extra="ignore")
    id: str | None = Field(default=None, max_length=256)
    inputs: list[InputTensor] = Field(min_length=1, max_length=MOST_INPUTS)
    outputs: list[RequestedOutput] | None = Field(default=None, max_length=MOST_OUTPUTS)

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs asked for; none where all are."""
        return [output.name for output in self.outputs or ()]


class OutputTensor(BaseModel):
    """A tensor of the answer, ``data`` flat in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class InferenceResponse(BaseModel):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def parse_request(body: bytes) -> InferenceRequest:
    """Read the body of an inference request.

    Raises:
        RequestError: malformed, naming the first thing that is wrong.
    """
    try:
        return InferenceRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "body"
        raise malformed(f"{where}: {problem['msg']}") from None


def decode_request(body: bytes, model: Model, dataplane: DataPlane) -> tuple[InferenceRequest, dict[str, NDArray[Any]]]:
    """Read the body of an inference request, and its tensors as arrays by name.

    Raises:
        RequestError: as ``parse_request``, ``DataPlane.require_request`` and ``to_array``.
    """
    request = parse_request(body)
    given = [TensorMetadata(name=one.name, datatype=one.datatype, shape=one.shape) for one in request.inputs]
    dataplane.require_request(model, given, request.output_names)
    arrays = {tensor.name: to_array(tensor) for tensor in request.inputs}
    request.inputs.clear()  # numbers as Python objects take many times the memory of the array
    return request, arrays


def to_array(tensor: InputTensor) -> NDArray[Any]:
    """Turn the request's tensor, whose shape was checked, into an array.

    Raises:
        RequestError: malformed when the values are not of the type, or not as many as the shape says.
    """
    try:
        # Without a type first: numpy would wrap 256 to 0 and cut 0.5 to 0 if it were asked for bytes.
        numbers = np.array(tensor.data)
    except ValueError:
        raise malformed(f"the data of {tensor.name} is nested unevenly") from None
    kinds, words = _ACCEPTED[tensor.datatype]
    fits = numbers.dtype.kind in kinds
    if fits and tensor.datatype == "UINT8":
        fits = numbers.min() >= 0 and numbers.max() <= 255
    if not fits:
        raise malformed(f"the data of {tensor.name} must be {words}")
    count = int(np.prod(tensor.shape, dtype=object))
    if numbers.shape not in ((count,), tuple(tensor.shape)):
        raise malformed(f"the data of {tensor.name} has shape {list(numbers.shape)}, announced is {tensor.shape}")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused before it is used
        return numbers.astype(DATATYPES[tensor.datatype]).reshape(tensor.shape)


def to_response(
    request: InferenceRequest, metadata: ModelMetadata, arrays: dict[str, NDArray[Any]]
) -> InferenceResponse:
    """Build the answer from the outputs to send."""
    datatypes = {output.name: output.datatype for output in metadata.outputs}
    outputs = [
        OutputTensor(name=name, datatype=datatypes[name], shape=list(array.shape), data=array.ravel().tolist())
        for name, array in arrays.items()
    ]
    return InferenceResponse(
        model_name=metadata.name, model_version=metadata.versions[0], id=request.id, outputs=outputs
    )
