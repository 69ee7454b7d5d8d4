"""The Open Inference Protocol V2 over JSON: which models there are, and their tensors.

Source: "Open Inference Protocol (V2 Inference Protocol)" of KServe, HTTP/REST part. The bundle itself is a model that
judges a picture of any size; every member is one that maps tiles, or face crops, to its network's outputs, named
``<bundle>.<member>``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundle import Bundle, BundleMember, BundleVerdict
from bundle.faces.analysis import FaceVerdict
from serving.documents import ModelMetadata, TensorMetadata
from serving.errors import RequestError

PICTURE, PIXELS, LOGITS = "picture", "pixels", "logits"
DATATYPES = {"UINT8": np.uint8, "FP32": np.float32, "BOOL": np.bool_}
VERDICT_OUTPUTS = [
    TensorMetadata(name="score", datatype="FP32", shape=[1]),
    TensorMetadata(name="forged", datatype="BOOL", shape=[1]),
    TensorMetadata(name="probability", datatype="FP32", shape=[-1, -1]),
]
FACE_OUTPUTS = [  # a row for each face; none where there is no face
    TensorMetadata(name="probability", datatype="FP32", shape=[-1]),
    TensorMetadata(name="manipulated", datatype="BOOL", shape=[-1]),
    TensorMetadata(name="box", datatype="FP32", shape=[-1, 4]),
]


class InputTensor(BaseModel):
    """A tensor of the request: ``data`` nested as the shape says, or flat in row-major order, integers 0 to 255."""

    model_config = ConfigDict(extra="ignore")
    name: str
    datatype: Literal["UINT8"]
    shape: list[int] = Field(min_length=1, max_length=4)
    data: list[Any]


class RequestedOutput(BaseModel):
    """The name of an output that is wanted."""

    model_config = ConfigDict(extra="ignore")
    name: str


class InferenceRequest(BaseModel):
    """The body of an inference request; parameters are accepted and ignored."""

    model_config = ConfigDict(extra="ignore")
    id: str | None = Field(default=None, max_length=256)
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(default=None, max_length=8)


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


def model_metadata(document: Bundle, member: BundleMember | None, platform: str) -> ModelMetadata:
    """Describe the bundle (``member`` None) or one of its members."""
    if member is None:
        inputs = [TensorMetadata(name=PICTURE, datatype="UINT8", shape=[-1, -1, 3])]
        outputs = VERDICT_OUTPUTS if document.task == "segmentation" else FACE_OUTPUTS
    else:
        size = member.input.size
        inputs = [TensorMetadata(name=PIXELS, datatype="UINT8", shape=[-1, member.input.channels, size, size])]
        shapes = _output_shapes(member)
        outputs = [TensorMetadata(name=name, datatype="FP32", shape=[-1, *shapes[name]]) for name in member.outputs]
    return ModelMetadata(
        name=model_name(document, member),
        versions=[document.version],
        platform=platform,
        inputs=inputs,
        outputs=outputs,
    )


def _output_shapes(member: BundleMember) -> dict[str, Sequence[int]]:
    """Return the shape of each output of a member's network, without the batch."""
    size = member.input.size
    if member.task == "segmentation":
        return {LOGITS: (1, size, size)}
    return {LOGITS: (1,), "vectors": (member.vector_width or 0,), "heatmap": (1, *(member.heatmap_size or ()))}


def model_name(document: Bundle, member: BundleMember | None) -> str:
    """Return the name under which the bundle or a member is found."""
    return document.name if member is None else f"{document.name}.{member.name}"


def parse_request(body: bytes) -> InferenceRequest:
    """Read the body of an inference request.

    Raises:
        RequestError: 400, naming the first thing that is wrong.
    """
    try:
        return InferenceRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "body"
        raise _wrong(f"{where}: {problem['msg']}") from None


def to_array(tensor: InputTensor, metadata: TensorMetadata, max_elements: int) -> NDArray[np.uint8]:
    """Turn the request's tensor into an array of the model's input.

    Args:
        tensor: of the request.
        metadata: of the input; -1 in its shape takes any size from 1 up.
        max_elements: most numbers the tensor may have.

    Raises:
        RequestError: 400 when name, shape or values are not what the model takes; 422 when it has too many numbers.
    """
    if tensor.name != metadata.name:
        raise _wrong(f"this model's input is called {metadata.name!r}, not {tensor.name!r}")
    fits = len(tensor.shape) == len(metadata.shape) and all(
        given >= 1 and wanted in (-1, given) for given, wanted in zip(tensor.shape, metadata.shape, strict=True)
    )
    if not fits:
        raise _wrong(f"{tensor.name} has shape {tensor.shape}, wanted is {metadata.shape} with -1 for any size")
    count = 1
    for side in tensor.shape:
        count *= side
    if count > max_elements:
        raise RequestError(422, "too-many-pixels", f"{tensor.name} has {count:,} numbers, at most {max_elements:,} go")
    try:
        # Without a type first: numpy would wrap 256 to 0 and cut 0.5 to 0 if it were told to make bytes.
        numbers = np.array(tensor.data)
    except ValueError:
        raise _wrong(f"the data of {tensor.name} is nested unevenly") from None
    if numbers.dtype.kind != "i" or numbers.min() < 0 or numbers.max() > 255:
        raise _wrong(f"the data of {tensor.name} must be integers from 0 to 255")
    if numbers.shape not in ((count,), tuple(tensor.shape)):
        raise _wrong(f"the data of {tensor.name} has shape {list(numbers.shape)}, announced is {tensor.shape}")
    return numbers.astype(np.uint8).reshape(tensor.shape)


def verdict_outputs(judged: BundleVerdict) -> dict[str, NDArray[Any]]:
    """Return the bundle's output tensors."""
    return {
        "score": np.array([judged.verdict.score], dtype=np.float32),
        "forged": np.array([judged.verdict.forged], dtype=np.bool_),
        "probability": judged.probability,
    }


def face_outputs(verdict: FaceVerdict, boxes: Mapping[int, Sequence[float]]) -> dict[str, NDArray[Any]]:
    """Return the output tensors of a bundle that judges faces.

    Args:
        verdict: of a picture.
        boxes: of the faces by number of their track: x0, y0, x1, y1 in px.
    """
    probability = np.array([track.probability for track in verdict.tracks], dtype=np.float64)
    return {
        "probability": probability.astype(np.float32),
        "manipulated": probability >= verdict.threshold,
        "box": np.array([boxes[track.track] for track in verdict.tracks], dtype=np.float32).reshape(-1, 4),
    }


def to_response(
    request: InferenceRequest, metadata: ModelMetadata, arrays: dict[str, NDArray[Any]]
) -> InferenceResponse:
    """Build the answer from the outputs that were asked for, all when none was named."""
    datatypes = {output.name: output.datatype for output in metadata.outputs}
    outputs = [
        OutputTensor(
            name=name,
            datatype=datatypes[name],
            shape=list(arrays[name].shape),
            data=arrays[name].ravel().tolist(),
        )
        for name in wanted_outputs(request, metadata)
    ]
    return InferenceResponse(
        model_name=metadata.name, model_version=metadata.versions[0], id=request.id, outputs=outputs
    )


def wanted_outputs(request: InferenceRequest, metadata: ModelMetadata) -> Sequence[str]:
    """Return the names of the outputs to send.

    Raises:
        RequestError: 400 when a name is not one of the model's.
    """
    known = [output.name for output in metadata.outputs]
    wanted = list(dict.fromkeys(output.name for output in request.outputs or ())) or known
    for name in wanted:
        if name not in known:
            raise _wrong(f"this model has no output {name!r}; it has {', '.join(known)}")
    return wanted


def _wrong(detail: str) -> RequestError:
    return RequestError(400, "bad-request", detail)
