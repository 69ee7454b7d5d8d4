import pytest
import torch

from components.train.errors import DeviceMemoryError
from components.train.memory import naming_keys
from components.train.recipe import TrainRecipe
from core.settings import validate
from judging.running import inference_mode

CPU = torch.device("cpu")
FACE = {"views": {"face": {"size": 224, "margin": 1.3}}}
FAMILIES = {
    "forgery": (
        {"input": {"views": {"tiles": {}}}, "model": {"encoder": "timm-efficientnet-b2"}},
        ["input.views.tiles.size (now 512)", "model.encoder (now timm-efficientnet-b2)", "model.pyramid_channels"],
    ),
    "spotter": (
        {"input": FACE | {"frames": 8}},
        ["input.views.face.size (now 224)", "input.frames (now 8)", "model.backbone (now efficientnet_b0)"],
    ),
    "genconvit": (
        {"input": {"views": {"face": {"size": 224, "margin": 1.3, "mean": [0, 0, 0], "std": [1, 1, 1]}}}},
        ["input.views.face.size (now 224)", "model.backbones (now ['convnext_tiny'", "model.latent_width (now 256)"],
    ),
}


def _recipe(family: str = "forgery", **keys) -> TrainRecipe:
    given = {"member": "x", "family": family, "policy": "native", "monitor": {"metric": "loss"}}
    return validate(TrainRecipe, {**given, **FAMILIES[family][0], **keys}, "recipe")


def _exhaust(*arguments: object) -> str:
    with pytest.raises(DeviceMemoryError) as caught, naming_keys(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_keys_of_the_family_are_named_with_their_values(family):
    text = _exhaust(_recipe(family, batch_size=4), CPU, "fp32", 2)
    for words in (*FAMILIES[family][1], "batch_size (now 4; raise accumulate, now 1", "bf16", "Tried to allocate 2.00"):
        assert words in text
    named = {"forgery": "model.encoder ", "spotter": "model.backbone ", "genconvit": "model.backbones "}
    assert [name for name, key in named.items() if key in text] == [family]


def test_what_cannot_be_lowered_is_not_named():
    text = _exhaust(_recipe(batch_size=2), CPU, "bf16", 2)
    for words in ("batch_size", "frames", "bf16 or fp16"):
        assert words not in text
    assert "validate_batch_size" not in _exhaust(_recipe(validate_batch_size=1), CPU, "fp32", None)


def test_in_validation_the_key_is_that_of_validation_whoever_runs_the_network():
    with (
        pytest.raises(DeviceMemoryError) as caught,
        naming_keys(_recipe(batch_size=4), CPU, "fp32", None),
        inference_mode(CPU, "fp32", "8 tiles"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert "in validation" in str(caught.value)
    assert "validate_batch_size (now 8)" in str(caught.value)
    assert "lower batch_size" not in str(caught.value)
    assert "Tried to allocate 2.00 GiB" in str(caught.value)
