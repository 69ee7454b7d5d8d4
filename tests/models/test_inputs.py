from typing import Any

import numpy as np
import pytest
import torch

from media.pixel_view import IMAGENET_MEAN, IMAGENET_STD
from media.spec import InputSpec
from media.view import PRESENT
from models.inputs import Normalize

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 7), dtype=np.uint8)
COLOURS = torch.from_numpy(PIXELS[:, :3])


def normalize(**view: Any) -> Normalize:
    return Normalize(InputSpec.model_validate({"views": {"face": view}}))


def by_the_formula(pixels: np.ndarray, mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD) -> np.ndarray:
    repeats = pixels.shape[-3] // 3
    return (pixels / 255 - np.tile(mean, repeats).reshape(-1, 1, 1)) / np.tile(std, repeats).reshape(-1, 1, 1)


@pytest.mark.parametrize(("channels", "ela"), [(3, None), (6, {})])
def test_pixels_are_normalised_by_the_formula(channels: int, ela: dict[str, Any] | None) -> None:
    output = normalize(ela=ela)({"face": torch.from_numpy(PIXELS[:, :channels])})["face"]
    assert output.dtype == torch.float32
    np.testing.assert_allclose(output.numpy(), by_the_formula(PIXELS[:, :channels]), atol=1e-6)


def test_each_view_has_its_own_mean_deviation_and_error_levels() -> None:
    both = {"centre": {"ela": {}}, "face": {"mean": (0.5, 0.25, 0), "std": (1, 0.5, 2)}}
    output = Normalize(InputSpec.model_validate({"views": both}))({"face": COLOURS, "centre": torch.from_numpy(PIXELS)})
    assert list(output) == ["face", "centre"]
    np.testing.assert_allclose(output["centre"].numpy(), by_the_formula(PIXELS), atol=1e-6)
    expected = by_the_formula(PIXELS[:, :3], (0.5, 0.25, 0), (1, 0.5, 2))
    np.testing.assert_allclose(output["face"].numpy(), expected, atol=1e-6)


def test_what_is_no_view_of_pixels_passes_unchanged() -> None:
    present = torch.tensor([True, False])
    output = normalize()({"face": COLOURS, "face" + PRESENT: present})
    assert output["face" + PRESENT] is present


def test_floating_pixels_give_the_same_as_whole_ones() -> None:
    assert torch.equal(normalize()({"face": COLOURS.float()})["face"], normalize()({"face": COLOURS})["face"])


def test_a_dimension_of_time_may_stand_before_the_channels() -> None:
    clip = COLOURS[None]
    assert torch.equal(normalize()({"face": clip})["face"][0], normalize()({"face": clip[0]})["face"])


def test_output_is_float32_under_autocast_and_keeps_channels_last() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = normalize()({"face": COLOURS.contiguous(memory_format=torch.channels_last)})["face"]
    assert output.dtype == torch.float32
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_the_state_holds_no_second_copy_of_the_specification() -> None:
    assert normalize().state_dict() == {}
