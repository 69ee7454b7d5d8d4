"""JSON that is none, tensors that are none, and numbers that no picture has."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.load import post

GOOD = {"name": "picture", "datatype": "UINT8", "shape": [2, 2, 3], "data": [0] * 12}


def body(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs)} | more).encode()


def tensor(**changes: Any) -> bytes:
    return body(GOOD | changes)


def number(text: str) -> bytes:
    """A tensor one of whose numbers is written as ``text``."""
    return tensor(data=["HERE", *[0] * 11]).replace(b'"HERE"', text.encode())


NUMBERS = [
    "NaN", "Infinity", "-Infinity", "1e400", "-1", "256", "1e2", "0.5", "1.0", "-0.0", "null", '"1"', "[1]",
    "{}", "9" * 20, "9" * 5000, "1e", "0x10", "01", "\\u0031", "4294967296", "18446744073709551616",
]  # fmt: skip

REFUSED = {
    **{f"number {text[:20]}": number(text) for text in NUMBERS},
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"inputs"',
    "half": tensor()[:-10],
    "twice": tensor() * 2,
    "not UTF-8": tensor().replace(b"picture", b"\xff\xfe\xfd"),
    "UTF-16": tensor().decode().encode("utf-16"),
    "half a surrogate": tensor().replace(b"picture", b"\\ud800"),
    "a name with a NUL": tensor().replace(b"picture", b"pic\\u0000ture"),
    "a form": b"inputs=1",
    "depth 1,000 around": b"[" * 1000 + b"]" * 1000,
    "depth 100,000 around": b"[" * 100_000,
    "depth 40": number("[" * 40 + "]" * 40),
    "depth 100": number("[" * 100 + "1" + "]" * 100),
    "depth 10,000": number("[" * 10_000 + "]" * 10_000),
    "objects of depth 10,000": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "no inputs": b"{}",
    "empty inputs": body(),
    "two inputs": body(GOOD, GOOD),
    "inputs that are an object": json.dumps({"inputs": GOOD}).encode(),
    "an input that is null": body(None),
    "an input too many": body(GOOD, GOOD | {"name": "tiles"}),
    "no name": body({key: value for key, value in GOOD.items() if key != "name"}),
    "no data": body({key: value for key, value in GOOD.items() if key != "data"}),
    "another name": tensor(name="tiles"),
    "a name that is a number": tensor(name=7),
    "another type": tensor(datatype="FP32"),
    "a type in lower case": tensor(datatype="uint8"),
    "strings": tensor(datatype="BYTES", data=["x"] * 12),
    "no shape": tensor(shape=[]),
    "too flat": tensor(shape=[12]),
    "too deep": tensor(shape=[1, 2, 2, 3]),
    "far too deep": tensor(shape=[1] * 100),
    "two colours": tensor(shape=[2, 3, 2]),
    "zero": tensor(shape=[0, 2, 3], data=[]),
    "negative": tensor(shape=[-2, -2, 3]),
    "any": tensor(shape=[-1, 2, 3]),
    "2⁶² rows": tensor(shape=[2**62, 2, 3]),
    "2⁶³ rows": tensor(shape=[2**63, 2, 3]),
    "2⁶⁴ rows": tensor(shape=[2**64, 2, 3]),
    "10⁶⁰ rows": tensor(shape=[10**60, 2, 3]),
    "10⁴⁰⁰⁰ rows and columns": tensor(shape=[10**4000, 10**4000, 3]),
    "a product that overflows to 12": tensor(shape=[2**32 + 2, 2**32 + 2, 3]),
    "many rows": tensor(shape=[40_000_000, 1, 3]),
    "more rows than may be": tensor(shape=[40_000_001, 1, 3]),
    "half a row": tensor(shape=[2.5, 2, 3]),
    "a shape of strings": tensor(shape=["a", 2, 3]),
    "a shape of booleans": tensor(shape=[True, 2, 3]),
    "a shape that is a number": tensor(shape=12),
    "too few numbers": tensor(data=[0] * 11),
    "too many numbers": tensor(data=[0] * 13),
    "numbers nested otherwise": tensor(data=[[[0, 0, 0, 0]] * 3]),
    "numbers nested unevenly": tensor(data=[[0, 0], [0]]),
    "data that is a string": tensor(data="000000000000"),
    "data that is null": tensor(data=None),
    "data that is an object": tensor(data={"0": 0}),
    "an output that is not there": body(GOOD, outputs=[{"name": "nobody"}]),
    "an output with half a surrogate": body(GOOD, outputs=[{"name": "\ud800"}]),
    "an output without a name": body(GOOD, outputs=[{}]),
    "a hundred outputs": body(GOOD, outputs=[{"name": "score"}] * 100),
    "an id that is a number": body(GOOD, id=7),
    "an id of 10,000 letters": body(GOOD, id="x" * 10_000),
    "the last of two keys": b'{"inputs": [' + json.dumps(GOOD).encode() + b'], "inputs": []}',
}  # fmt: skip

JUDGED = {
    "nested": tensor(data=[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 255]]]),
    "with what nobody knows": body(GOOD | {"parameters": {"x": [1]}, "y": None}, parameters={}, z=1),
    "one output twice": body(GOOD, outputs=[{"name": "score"}] * 2),
    "an id of any letters": body(GOOD, id="\u202e\U0001f600\x00\n"),
    "one pixel": tensor(shape=[1, 1, 3], data=[255] * 3),
}


def infer(target: Any, data: bytes, model: str = "tiny", content_type: str = "application/json") -> Any:
    return target.ask(post(f"{target.url}/v2/models/{model}/infer", data, content_type))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_tensor_of_a_picture_is_refused_with_a_reason(target: Any, name: str) -> None:
    reply = infer(target, REFUSED[name])
    assert (reply.status, reply.reason) in [(400, "bad-request"), (422, "too-many-pixels")], reply.body


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain; charset=utf-16", ""])
def test_an_odd_tensor_is_judged_whatever_it_is_called(target: Any, name: str, content_type: str) -> None:
    reply = infer(target, JUDGED[name], content_type=content_type)
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["model_name"] == "tiny"


@pytest.mark.parametrize(
    "shape", [[0, 6, 64, 64], [1, 3, 64, 64], [1, 6, 64, 63], [2**62, 6, 64, 64], [1, 6, 64, 64, 1], [6, 64, 64]]
)
def test_tiles_of_another_shape_are_refused(target: Any, shape: list[int]) -> None:
    reply = infer(target, body({"name": "tiles", "datatype": "UINT8", "shape": shape, "data": [0]}), "tiny.ela")
    assert (reply.status, reply.reason) in [(400, "bad-request"), (422, "too-many-pixels")], reply.body


@pytest.mark.parametrize(
    "model",
    ["", "nobody", "tiny.", "tiny.colour.x", "..", "%2e%2e%2ftiny", "%00", "%ff", "tiny%0d%0aX:%20y", "x" * 8000],
)
def test_a_model_that_is_not_there_is_404(target: Any, model: str) -> None:
    reply = infer(target, tensor(), model)
    assert reply.status == 404
    assert reply.reason in ("unknown-model", "not-found")
    assert len(reply.headers) < 8


def test_none_of_them_leaves_anything_behind(
    target: Any, unharmed: None, no_growth: Callable[[Callable[[], None]], None]
) -> None:
    def send_all() -> None:
        for data in [*REFUSED.values(), *JUDGED.values()]:
            assert infer(target, data).status in (200, 400, 422)

    no_growth(send_all)
