import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.forging.processing import STEPS, apply, apply_to_mask, draw_fit, draw_processing, encode_jpeg
from media.forging.settings import ProcessingSettings
from media.pictures import decode_picture, picture_size

EVERYTHING = ProcessingSettings(
    untouched=0,
    crop_probability=0.7,
    resize_probability=0.7,
    camera_probability=0.7,
    colour_probability=0.7,
    blur_probability=0.4,
    sharpen_probability=0.7,
    noise_probability=0.7,
    jpeg_probability=0.7,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_steps_repeat_from_json_and_the_mask_goes_along(photos, seed):
    rgb = photos["coffee"]
    steps = draw_processing(np.random.default_rng(seed), EVERYTHING, rgb.shape[:2], 96, 400)
    replayed = json.loads(json.dumps(steps))
    assert np.array_equal(apply(rgb, steps), apply(rgb, replayed))
    result = apply(rgb, steps)
    assert result.dtype == np.uint8
    assert apply_to_mask(np.ones(rgb.shape[:2], bool), steps).shape == result.shape[:2]
    assert min(result.shape[:2]) >= 95  # a camera's mosaic needs even sides
    assert max(result.shape[:2]) <= 400
    assert "jpeg" not in [step["step"] for step in steps[:-1]]


def test_every_step_is_drawn_and_changes_the_picture(photos):
    seen = {}
    for seed in range(40):
        for step in draw_processing(np.random.default_rng(seed), EVERYTHING, photos["coffee"].shape[:2], 96, None):
            seen.setdefault(step["step"], step)
    assert set(seen) == set(STEPS)
    for step in seen.values():
        assert not np.array_equal(apply(photos["coffee"], [step]), photos["coffee"]), step


def test_untouched_pictures_go_through_nothing(photos):
    steps = draw_processing(np.random.default_rng(0), ProcessingSettings(untouched=1.0), (200, 200), 96, None)
    assert steps == []
    assert apply(photos["coffee"], steps) is photos["coffee"]


def test_a_mask_stays_on_its_object_through_crop_and_resize():
    rgb = np.zeros((120, 160, 3), np.uint8)
    rgb[30:80, 50:110] = 255
    mask = rgb[..., 0] > 0
    steps = [
        {"step": "crop", "x": 7, "y": 5, "width": 140, "height": 101},
        {"step": "resize", "width": 231, "height": 150, "filter": "linear"},
    ]
    shown = apply(rgb, steps)[..., 0] > 127
    moved = apply_to_mask(mask, steps)
    assert (shown & moved).sum() / (shown | moved).sum() > 0.97


@pytest.mark.parametrize("shape", [(1000, 400), (300, 2000), (500, 500)])
def test_large_pictures_fit_and_small_ones_are_left_alone(shape):
    rgb = np.zeros((*shape, 3), np.uint8)
    for seed in range(6):
        steps = draw_fit(np.random.default_rng(seed), shape, 96, 450)
        fitted = apply(rgb, steps).shape
        assert max(fitted[:2]) <= 450
        assert min(fitted[:2]) >= 96
    assert draw_fit(np.random.default_rng(0), shape, 96, None) == []
    assert draw_fit(np.random.default_rng(0), shape, 96, 2000) == []


def test_the_camera_keeps_the_scene_and_its_noise_grows_with_the_sensors():
    rgb = np.full((128, 128, 3), 90, np.uint8)
    camera = {"step": "camera", "seed": 1, "pattern": "RG", "demosaic": "bilinear", "warmth": 1.0, "sharpen": 0.0}
    quiet = apply(rgb, [camera | {"shot": 1e-7, "read": 1e-7}])
    loud = apply(rgb, [camera | {"shot": 1e-3, "read": 3e-3}])
    assert np.abs(quiet.astype(int) - 90).max() <= 2
    assert abs(loud.mean() - 90) < 3
    assert loud.std() > quiet.std() + 1.5


@pytest.mark.parametrize("pattern", ["RG", "GR"])
@pytest.mark.parametrize("demosaic", ["bilinear", "edge"])
def test_the_camera_puts_no_colour_in_the_wrong_channel(pattern, demosaic):
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:] = (200, 80, 30)
    camera = {"step": "camera", "seed": 1, "pattern": pattern, "demosaic": demosaic, "warmth": 1.0}
    seen = apply(rgb, [camera | {"shot": 1e-7, "read": 1e-7, "sharpen": 0.0}])
    assert np.abs(seen[8:-8, 8:-8].astype(int) - rgb[8:-8, 8:-8]).max() <= 3


@pytest.mark.parametrize("sampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_jpeg_quality_decides_the_loss(photos, sampling):
    rgb = photos["coffee"]
    loss = []
    for quality in (98, 80, 50):
        data = encode_jpeg(rgb, quality, sampling)
        assert picture_size(data) == (rgb.shape[1], rgb.shape[0])
        loss.append(np.abs(decode_picture(data).astype(int) - rgb).mean())
    assert loss == sorted(loss)
    assert loss[0] < 4
