import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.documents import ModelMetadata, TensorMetadata
from serving.errors import RequestError
from serving.tensors import InferenceRequest, InputTensor, parse_request, to_array, wanted_outputs

INPUT = TensorMetadata(name="picture", datatype="UINT8", shape=[-1, -1, 3])
MODEL = ModelMetadata(
    name="m",
    versions=["1"],
    platform="p",
    inputs=[INPUT],
    outputs=[TensorMetadata(name=name, datatype="FP32", shape=[1]) for name in ("score", "probability")],
)


def tensor(data: Any, shape: list[int], name: str = "picture") -> InputTensor:
    return InputTensor(name=name, datatype="UINT8", shape=shape, data=data)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))), st.booleans())
def test_flat_and_nested_data_give_the_array_that_was_sent(array: Any, nested: bool) -> None:
    data = array.tolist() if nested else array.ravel().tolist()
    np.testing.assert_array_equal(to_array(tensor(data, list(array.shape)), INPUT, 1000), array)


@pytest.mark.parametrize(
    ("data", "shape", "says"),
    [
        ([0] * 12, [2, 2, 3, 1], "shape"),
        ([0] * 8, [2, 2, 2], "shape"),
        ([], [0, 2, 3], "shape"),
        ([0] * 12, [-2, -2, 3], "shape"),
        ([0] * 11, [2, 2, 3], r"\[11\]"),
        ([[0, 0, 0], [0, 0]], [1, 2, 3], "unevenly"),
        ([0] * 11 + [256], [2, 2, 3], "0 to 255"),
        ([0] * 11 + [-1], [2, 2, 3], "0 to 255"),
        ([0] * 11 + [0.5], [2, 2, 3], "integers"),
        ([0] * 11 + [float("nan")], [2, 2, 3], "integers"),
        ([0] * 11 + [2**70], [2, 2, 3], "integers"),
        ([0] * 11 + ["1"], [2, 2, 3], "integers"),
        ([0] * 11 + [None], [2, 2, 3], "integers"),
        ([True] * 12, [2, 2, 3], "integers"),
        ([[[[0] * 3] * 2] * 2], [2, 2, 3], "shape"),
    ],
)
def test_what_is_no_such_tensor_is_refused(data: Any, shape: list[int], says: str) -> None:
    with pytest.raises(RequestError, match=says) as refused:
        to_array(tensor(data, shape), INPUT, 1000)
    assert refused.value.status_code == 400


def test_an_announced_size_is_refused_before_anything_is_built() -> None:
    with pytest.raises(RequestError, match="at most 1,000") as refused:
        to_array(tensor([0], [2**40, 2**40, 3]), INPUT, 1000)
    assert refused.value.status_code == 422


def test_a_tensor_of_another_name_is_refused() -> None:
    with pytest.raises(RequestError, match="called 'picture'"):
        to_array(tensor([0, 0, 0], [1, 1, 3], name="image"), INPUT, 1000)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"\xff\xfe", "body"),
        (b"{" * 100_000, "body"),
        (b'{"inputs": []}', "inputs"),
        (b'{"inputs": [{"name": "a", "datatype": "FP64", "shape": [1], "data": [1]}]}', "datatype"),
        (b'{"inputs": [{"name": "a", "datatype": "UINT8", "shape": ["x"], "data": [1]}]}', "shape"),
        (b'{"inputs": [{"name": "a", "datatype": "UINT8", "shape": [1], "data": 1}]}', "data"),
    ],
)
def test_a_body_that_is_no_request_is_refused_with_the_place(body: bytes, says: str) -> None:
    with pytest.raises(RequestError, match=says) as refused:
        parse_request(body)
    assert refused.value.status_code == 400


def request(outputs: list[str] | None) -> InferenceRequest:
    wanted = None if outputs is None else [{"name": name} for name in outputs]
    one = {"name": "picture", "datatype": "UINT8", "shape": [1, 1, 3], "data": [0, 0, 0]}
    return parse_request(json.dumps({"inputs": [one], "outputs": wanted, "parameters": {"ignored": 1}}).encode())


def test_outputs_are_those_asked_for_or_all() -> None:
    assert wanted_outputs(request(None), MODEL) == ["score", "probability"]
    assert wanted_outputs(request([]), MODEL) == ["score", "probability"]
    assert wanted_outputs(request(["probability", "probability"]), MODEL) == ["probability"]
    with pytest.raises(RequestError, match="no output 'mask'"):
        wanted_outputs(request(["mask"]), MODEL)
