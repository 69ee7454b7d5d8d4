import numpy as np
import pytest
import torch

from media.spec import IMAGENET_MEAN, IMAGENET_STD, ElaSpec, InputSpec
from models.inputs import Normalize

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 7), dtype=np.uint8)


def by_the_formula(pixels: np.ndarray) -> np.ndarray:
    repeats = pixels.shape[-3] // 3
    mean = np.tile(np.array(IMAGENET_MEAN), repeats).reshape(-1, 1, 1)
    std = np.tile(np.array(IMAGENET_STD), repeats).reshape(-1, 1, 1)
    return (pixels / 255 - mean) / std


@pytest.mark.parametrize(("channels", "ela"), [(3, None), (6, ElaSpec())])
def test_pixels_are_normalised_by_the_formula(channels: int, ela: ElaSpec | None) -> None:
    normalise = Normalize.from_spec(InputSpec(ela=ela))
    output = normalise(torch.from_numpy(PIXELS[:, :channels]))
    assert output.dtype == torch.float32
    np.testing.assert_allclose(output.numpy(), by_the_formula(PIXELS[:, :channels]), atol=1e-6)


def test_floating_pixels_give_the_same_as_whole_ones() -> None:
    normalise = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    pixels = torch.from_numpy(PIXELS[:, :3])
    assert torch.equal(normalise(pixels.float()), normalise(pixels))


def test_a_dimension_of_time_may_stand_before_the_channels() -> None:
    normalise = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    clip = torch.from_numpy(PIXELS[:, :3])[None]
    assert torch.equal(normalise(clip)[0], normalise(clip[0]))


def test_output_is_float32_under_autocast_and_keeps_channels_last() -> None:
    pixels = torch.from_numpy(PIXELS[:, :3]).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = Normalize(IMAGENET_MEAN, IMAGENET_STD)(pixels)
    assert output.dtype == torch.float32
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_the_state_holds_no_second_copy_of_the_specification() -> None:
    assert Normalize(IMAGENET_MEAN, IMAGENET_STD).state_dict() == {}
