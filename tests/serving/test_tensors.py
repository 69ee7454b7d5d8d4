import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.analyzers import Category, RequestError
from media.tensors import DATATYPES
from serving.dataplane import ModelMetadata, TensorMetadata
from serving.tensors import InferenceRequest, InputTensor, parse_request, to_array, to_response


def tensor(data: Any, shape: list[int], datatype: str = "UINT8") -> InputTensor:
    return InputTensor.model_validate({"name": "one", "datatype": datatype, "shape": shape, "data": data})


def arrays(datatype: str) -> st.SearchStrategy[Any]:
    shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
    elements: dict[str, Any] = {"allow_nan": False, "allow_infinity": False} if datatype == "FP32" else {}
    return hnp.arrays(DATATYPES[datatype], shapes, elements=elements or None)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("nested", [True, False])
def test_flat_and_nested_data_give_the_array_that_was_sent(datatype: str, nested: bool) -> None:
    @given(arrays(datatype))
    def check(array: Any) -> None:
        data = array.tolist() if nested else array.ravel().tolist()
        found = to_array(tensor(data, list(array.shape), datatype))
        assert found.dtype == DATATYPES[datatype]
        np.testing.assert_array_equal(found, array)

    check()


def test_numbers_of_single_precision_may_be_written_as_integers() -> None:
    assert to_array(tensor([1, 2], [2], "FP32")).tolist() == [1.0, 2.0]
    assert to_array(tensor([1, 2.5], [2], "FP32")).tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("datatype", "data", "match"),
    [
        ("UINT8", [0] * 11, r"\[11\]"),
        ("UINT8", [[0, 0, 0], [0, 0]], "unevenly"),
        ("UINT8", [0] * 11 + [256], "0 to 255"),
        ("UINT8", [0] * 11 + [-1], "0 to 255"),
        ("UINT8", [0] * 11 + [0.5], "integers"),
        ("UINT8", [0] * 11 + [float("nan")], "integers"),
        ("UINT8", [0] * 11 + [2**70], "integers"),
        ("UINT8", [0] * 11 + ["1"], "integers"),
        ("UINT8", [0] * 11 + [None], "integers"),
        ("UINT8", [True] * 12, "integers"),
        ("UINT8", [[[[0] * 3] * 2] * 2], "shape"),
        ("UINT8", [], "integers"),
        ("INT64", [0] * 11 + [2**63], "64 bits"),
        ("INT64", [0] * 11 + [0.0], "64 bits"),
        ("INT64", [True] * 12, "64 bits"),
        ("FP32", ["0.5"] * 12, "finite"),
        ("FP32", [None] * 12, "finite"),
        ("FP32", [True] * 12, "finite"),
        ("FP32", [0.5] * 11, r"\[11\]"),
        ("FP32", [], "shape"),
        ("BOOL", [0, 1] * 6, "true or false"),
        ("BOOL", [True] * 11 + [1.0], "true or false"),
        ("BOOL", ["true"] * 12, "true or false"),
    ],
)
def test_what_is_no_such_data_is_refused(datatype: str, data: Any, match: str) -> None:
    with pytest.raises(RequestError, match=match) as refused:
        to_array(tensor(data, [2, 2, 3], datatype))
    assert refused.value.category is Category.MALFORMED


@pytest.mark.parametrize(
    ("body", "match"),
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
def test_a_body_that_is_no_request_is_refused_with_the_place(body: bytes, match: str) -> None:
    with pytest.raises(RequestError, match=match) as refused:
        parse_request(body)
    assert refused.value.category is Category.MALFORMED


def request(outputs: list[str] | None) -> InferenceRequest:
    named = None if outputs is None else [{"name": name} for name in outputs]
    one = {"name": "one", "datatype": "UINT8", "shape": [1, 1, 3], "data": [0, 0, 0]}
    return parse_request(json.dumps({"inputs": [one], "outputs": named, "parameters": {"ignored": 1}}).encode())


def test_a_request_names_the_outputs_that_it_asks_for() -> None:
    assert request(None).output_names == request([]).output_names == []
    assert request(["b", "a", "b"]).output_names == ["b", "a", "b"]


def test_an_answer_has_the_outputs_with_their_types_flat() -> None:
    outputs = [
        TensorMetadata(name="a", datatype="FP32", shape=[-1, 2]),
        TensorMetadata(name="b", datatype="BOOL", shape=[1]),
    ]
    model = ModelMetadata(name="m", versions=["1"], platform="p", inputs=[], outputs=outputs)
    answer = to_response(request(None), model, {"b": np.array([True]), "a": np.ones((3, 2), dtype=np.float32)})
    assert [(one.name, one.datatype, one.shape, one.data) for one in answer.outputs] == [
        ("b", "BOOL", [1], [True]),
        ("a", "FP32", [3, 2], [1.0] * 6),
    ]
