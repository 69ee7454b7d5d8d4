"""The Open Inference Protocol without a transport."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.analyzers import Analyzer, Category, NoOptions, Outputs, RequestError
from bundle.faces.verdict import FaceDecision
from media.extraction import ExtractionSpec, FaceSpec
from media.spec import InputSpec
from media.tensors import TensorSpec
from serving.dataplane import DataPlane, TensorMetadata, announced, require_inputs
from tests.serving.toys import mean_of, verified, workbench, write_glint

SIZE = 32


class Halves(Analyzer):
    """Answers with half of each value of a picture."""

    outputs: ClassVar[Mapping[str, TensorSpec]] = {"halves": TensorSpec(datatype="FP32", shape=(-1, -1, 3))}

    async def analyze_picture(self, data: bytes, options: NoOptions) -> bytes:
        raise NotImplementedError

    async def infer(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"halves": (arrays["picture"] / 2).astype(np.float32)}


def pair(inputs: Mapping[str, NDArray[Any]]) -> Outputs:
    outputs = mean_of("face", "glint")(inputs)
    return outputs | {"vectors": np.repeat(outputs["logits"], 2, axis=1)}


@pytest.fixture
def plane(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> DataPlane:
    monkeypatch.setenv("VERIFRAME_EXTENSIONS", str(write_glint(tmp_path)))
    views = {"face": {"size": SIZE}, "glint": {"size": SIZE}}
    outputs = {
        "logits": TensorSpec(datatype="FP32", shape=(1,)),
        "vectors": TensorSpec(datatype="FP32", shape=(2,)),
    }
    bundle = verified(
        "faces",
        FaceDecision(threshold=0.5),
        {"pair": InputSpec.model_validate({"views": views})},
        outputs,
        ExtractionSpec(faces=FaceSpec()),
    )
    bench = workbench({"pair": pair}, max_pixels=20_000)
    return DataPlane(Halves(bundle, bench), bench, "toy")


def batch(count: int = 3) -> dict[str, NDArray[Any]]:
    chance = np.random.default_rng(0)
    return {
        "face": chance.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8),
        "glint": chance.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8),
        "glint_present": np.arange(count) % 2 == 0,
    }


def described(tensors: list[TensorMetadata]) -> dict[str, tuple[str, list[int]]]:
    return {tensor.name: (tensor.datatype, tensor.shape) for tensor in tensors}


def test_the_bundle_and_its_members_are_models_with_their_tensors(plane: DataPlane) -> None:
    assert plane.names == ["toy", "toy.pair"]
    bundle, member = (plane.find(name).metadata for name in plane.names)
    assert (member.name, member.versions, member.platform) == ("toy.pair", ["7"], "toy")
    assert described(bundle.inputs) == {"picture": ("UINT8", [-1, -1, 3])}
    assert described(bundle.outputs) == {"halves": ("FP32", [-1, -1, 3])}
    assert described(member.inputs) == {
        "face": ("UINT8", [-1, 3, SIZE, SIZE]),
        "glint": ("UINT8", [-1, 3, SIZE, SIZE]),
        "glint_present": ("BOOL", [-1]),
    }
    assert described(member.outputs) == {"logits": ("FP32", [-1, 1]), "vectors": ("FP32", [-1, 2])}


def test_a_model_that_is_not_there_is_unknown(plane: DataPlane) -> None:
    with pytest.raises(RequestError, match=r"Did you mean 'toy\.pair'") as refused:
        plane.find("toy.pear")
    assert (refused.value.category, refused.value.reason) == (Category.UNKNOWN, "unknown-model")


def test_a_member_maps_several_inputs_to_its_outputs(plane: DataPlane) -> None:
    arrays = batch(9)  # more than a forward pass takes
    found = asyncio.run(plane.infer(plane.find("toy.pair"), arrays))
    direct = pair(arrays)
    assert found.keys() == direct.keys()
    for name, array in direct.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)


def test_the_bundle_maps_what_its_analyzer_does(plane: DataPlane) -> None:
    picture = np.full((2, 5, 3), 7, dtype=np.uint8)
    found = asyncio.run(plane.infer(plane.find("toy"), {"picture": picture}))
    np.testing.assert_array_equal(found["halves"], picture / 2)


def test_outputs_are_those_asked_for_in_that_order_or_all(plane: DataPlane) -> None:
    model = plane.find("toy.pair")
    assert list(asyncio.run(plane.infer(model, batch()))) == ["logits", "vectors"]
    assert list(asyncio.run(plane.infer(model, batch(), ["vectors", "logits", "vectors"]))) == ["vectors", "logits"]
    with pytest.raises(RequestError, match="no output 'mask'"):
        asyncio.run(plane.infer(model, batch(), ["mask"]))


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "one missing": ({"glint_present": None}, "inputs are called 'face', 'glint', 'glint_present'"),
    "one too many": ({"pixels": np.zeros(3, dtype=np.uint8)}, "not 'face', 'glint', 'glint_present', 'pixels'"),
    "another type": ({"glint_present": np.ones(3, dtype=np.uint8)}, "type UINT8, expected is BOOL"),
    "a type without a word": ({"glint_present": np.ones(3, dtype=np.float64)}, "type float64"),
    "another shape": ({"face": np.zeros((3, 3, SIZE, 31), dtype=np.uint8)}, "has shape"),
    "fewer axes": ({"glint_present": np.ones((), dtype=np.bool_)}, "has shape"),
    "an empty batch": ({"face": np.zeros((0, 3, SIZE, SIZE), dtype=np.uint8)}, "has shape"),
    "another batch": ({"glint_present": np.ones(2, dtype=np.bool_)}, "different sizes"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_arrays_that_the_model_does_not_read_are_malformed(plane: DataPlane, change: str) -> None:
    changed, match = CHANGES[change]
    arrays = {name: array for name, array in (batch() | changed).items() if array is not None}
    with pytest.raises(RequestError, match=match) as refused:
        asyncio.run(plane.infer(plane.find("toy.pair"), arrays))
    assert (refused.value.category, refused.value.reason) == (Category.MALFORMED, "bad-request")


def test_too_many_numbers_together_are_unusable_before_any_is_decoded(plane: DataPlane) -> None:
    model = plane.find("toy.pair")
    given = [announced(name, array) for name, array in batch(9).items()]
    plane.require_request(model, given, [])  # 2 * 9 * 3 * 32 * 32 + 9 of 60,000
    with pytest.raises(RequestError, match="at most 60,000") as refused:
        plane.require_request(model, [announced(name, array) for name, array in batch(10).items()], [])
    assert (refused.value.category, refused.value.reason) == (Category.UNUSABLE, "too-many-pixels")
    huge = [TensorMetadata(name="picture", datatype="UINT8", shape=[10**4000, 10**4000, 3])]
    with pytest.raises(RequestError, match="at most 60,000"):
        plane.require_request(plane.find("toy"), huge, [])


@pytest.mark.parametrize("shape", [[2, 2, 3, 1], [2, 2, 2], [0, 2, 3], [-2, -2, 3]])
def test_shapes_that_do_not_fit_are_malformed(plane: DataPlane, shape: list[int]) -> None:
    given = [TensorMetadata(name="picture", datatype="UINT8", shape=shape)]
    with pytest.raises(RequestError, match="shape"):
        require_inputs(plane.find("toy"), given, 1000)


def test_a_tensor_of_another_name_is_refused_with_the_right_one(plane: DataPlane) -> None:
    given = [TensorMetadata(name="image", datatype="UINT8", shape=[1, 1, 3])]
    with pytest.raises(RequestError, match="input is called 'picture', not 'image'"):
        plane.require_request(plane.find("toy"), given, [])
    with pytest.raises(RequestError, match="called"):
        plane.require_request(plane.find("toy"), [*given, *given], [])


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_malformed(plane: DataPlane, number: float) -> None:
    class Floats(Halves):
        inputs: ClassVar[Mapping[str, TensorSpec]] = {"picture": TensorSpec(datatype="FP32", shape=(-1, -1, 3))}

    floats = DataPlane(Floats(plane._analyzer.bundle, plane._analyzer.workbench), plane._workbench, "toy")
    picture = np.ones((2, 2, 3), dtype=np.float32)
    assert asyncio.run(floats.infer(floats.find("toy"), {"picture": picture}))["halves"][0, 0, 0] == 0.5
    picture[1, 1, 1] = number
    with pytest.raises(RequestError, match="finite") as refused:
        asyncio.run(floats.infer(floats.find("toy"), {"picture": picture}))
    assert refused.value.category is Category.MALFORMED


def test_inputs_of_the_bundle_itself_are_no_batches(plane: DataPlane) -> None:
    class Both(Halves):
        inputs: ClassVar[Mapping[str, TensorSpec]] = {
            "picture": TensorSpec(datatype="UINT8", shape=(-1, -1, 3)),
            "sound": TensorSpec(datatype="UINT8", shape=(-1,)),
        }

    both = DataPlane(Both(plane._analyzer.bundle, plane._analyzer.workbench), plane._workbench, "toy")
    arrays = {"picture": np.ones((2, 2, 3), dtype=np.uint8), "sound": np.ones(7, dtype=np.uint8)}
    assert asyncio.run(both.infer(both.find("toy"), arrays))["halves"].shape == (2, 2, 3)
