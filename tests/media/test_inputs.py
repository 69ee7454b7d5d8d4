"""From a face crop to a network's input: the views whole and centre."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.inputs import face_mask, face_view
from media.spec import ElaSpec, InputSpec


def crop(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("view", ["whole", "centre"])
@given(height=st.integers(16, 90), width=st.integers(16, 90), size=st.integers(32, 70))
def test_every_crop_becomes_the_networks_size(view: str, height: int, width: int, size: int) -> None:
    spec = InputSpec.model_validate({"view": view, "size": size})
    rgb = crop(height, width)
    assert face_view(rgb, spec).shape == (3, size, size)
    assert face_mask(rgb[..., 0] > 127, spec).shape == (size, size)


def test_the_centre_is_seen_at_its_own_resolution() -> None:
    rgb = crop(64, 80)
    seen = face_view(rgb, InputSpec(view="centre", size=32))
    assert np.array_equal(seen, rgb[16:48, 24:56].transpose(2, 0, 1))
    assert np.array_equal(face_mask(rgb[..., 0] > 127, InputSpec(view="centre", size=32)), rgb[16:48, 24:56, 0] > 127)


def test_a_smaller_crop_is_extended_by_reflection() -> None:
    rgb = crop(30, 32)
    seen = face_view(rgb, InputSpec(view="centre", size=32))
    assert np.array_equal(seen[:, :30], rgb.transpose(2, 0, 1))
    assert np.array_equal(seen[:, 30:], rgb[[28, 27]].transpose(2, 0, 1))


def test_the_whole_crop_is_scaled_with_the_filter_that_is_named() -> None:
    rgb = crop(64, 64)
    linear, area = (
        face_view(rgb, InputSpec.model_validate({"view": "whole", "size": 32, "resize_filter": name}))
        for name in ("linear", "area")
    )
    means = rgb.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(area - means).max() <= 0.5
    assert linear.shape == area.shape


def test_error_levels_are_those_of_what_is_seen() -> None:
    rgb = crop(64, 64)
    spec = InputSpec(view="centre", size=32, ela=ElaSpec())
    window = np.ascontiguousarray(rgb[16:48, 16:48])
    assert np.array_equal(face_view(rgb, spec), face_view(window, spec))
