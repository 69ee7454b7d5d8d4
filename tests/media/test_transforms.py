import os
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import albumentations as A
import cv2
import numpy as np
import pytest
from skimage import data

from core.errors import SettingsError
from media.transforms import POLICIES, GaussNoise, ImageCompression, RandomRotate90, compose, policy

SIZE = 96


@pytest.fixture(scope="module")
def picture():
    rgb = np.ascontiguousarray(data.astronaut()[:300, :400])
    mask = np.zeros((300, 400), dtype=bool)
    mask[200:240, 300:360] = True
    return rgb, mask


def _kinds(steps):
    return [type(step) for step in steps]


def test_the_forgery_policy_is_composed_as_published():
    crop, horizontal, vertical, rotation, noise, colour = compose("forgery", 512).transforms
    assert isinstance(crop, A.RandomResizedCrop)
    assert crop.size == (512, 512)
    assert crop.scale == (0.7, 1.0)
    assert crop.p == 1
    assert _kinds([horizontal, vertical, rotation]) == [A.HorizontalFlip, A.VerticalFlip, RandomRotate90]
    assert [step.p for step in (horizontal, vertical, rotation)] == [0.5] * 3

    assert isinstance(noise, A.OneOf)
    assert noise.p == 0.3
    gauss, gaussian, median = noise.transforms
    assert isinstance(gauss, GaussNoise)
    assert gauss.std_range == (0.01, 0.05)
    assert gauss.mean_range == (0, 0)
    assert isinstance(gaussian, A.GaussianBlur)
    assert gaussian.blur_limit == (3, 3)
    assert isinstance(median, A.MedianBlur)
    assert median.blur_limit == (3, 3)
    assert noise.transforms_ps == pytest.approx([1 / 3] * 3)

    assert isinstance(colour, A.OneOf)
    assert colour.p == 0.5
    brightness, hue, jitter = colour.transforms
    assert isinstance(brightness, A.RandomBrightnessContrast)
    assert brightness.brightness_limit == brightness.contrast_limit == (-0.2, 0.2)
    assert isinstance(hue, A.HueSaturationValue)
    assert (hue.hue_shift_limit, hue.sat_shift_limit, hue.val_shift_limit) == ((-10, 10), (-20, 20), (-20, 20))
    assert isinstance(jitter, A.ColorJitter)
    assert jitter.brightness == jitter.contrast == jitter.saturation == pytest.approx((0.8, 1.2))
    assert jitter.hue == pytest.approx((-0.1, 0.1))
    assert colour.transforms_ps == pytest.approx([1 / 3] * 3)


def test_the_enhanced_policy_adds_compression_scaling_and_stronger_colour():
    steps = compose("enhanced", SIZE).transforms
    assert _kinds(steps[:5]) == _kinds(compose("forgery", SIZE).transforms[:5])
    colour, scaling, compression = steps[5:]
    assert colour.transforms[2].saturation == pytest.approx((0.6, 1.4))
    assert isinstance(scaling, A.Downscale)
    assert [once.p for once in compression.transforms] == [1.0, 0.5, 0.5]
    for once in compression.transforms:
        assert _kinds(once.transforms) == [ImageCompression, ImageCompression]
        assert {kind.compression_type for kind in once.transforms} == {"jpeg", "webp"}
        assert all(kind.quality_range == (50, 95) for kind in once.transforms)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("shape", [(300, 400), (96, 96), (60, 300), (31, 17), (1, 1)])
def test_any_picture_becomes_one_of_the_asked_size(name, shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, dtype=bool)
    mask[: shape[0] // 2 + 1] = True
    for seed in range(12):
        image, crop = policy(name, SIZE)(rgb, mask, seed)
        assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert (crop.shape, crop.dtype) == ((SIZE, SIZE), np.bool_)
        assert image.flags.c_contiguous


@pytest.mark.parametrize("name", POLICIES)
def test_equal_seeds_give_equal_results_whatever_was_done_before(name, picture):
    first, second = policy(name, SIZE), policy(name, SIZE)
    expected = [first(*picture, seed) for seed in range(40)]
    for seed in reversed(range(40)):
        image, mask = second(*picture, seed)
        np.testing.assert_array_equal(image, expected[seed][0])
        np.testing.assert_array_equal(mask, expected[seed][1])
    distinct = {image.tobytes() for image, _ in expected}
    assert len(distinct) == (1 if name == "none" else 40)


@pytest.mark.parametrize("name", POLICIES)
def test_no_global_random_state_is_read_or_changed(name, picture):
    def draws():
        return random.random(), np.random.random(), float(cv2.randu(np.zeros(1), 0, 1)[0])

    def seed_all(seed):
        random.seed(seed)
        np.random.seed(seed)
        cv2.setRNGSeed(seed)

    augment = policy(name, SIZE)
    seed_all(1)
    undisturbed = draws()
    seed_all(1)
    first = [augment(*picture, seed)[0] for seed in range(40)]
    assert draws() == undisturbed
    seed_all(2)
    for seed in range(40):
        np.testing.assert_array_equal(augment(*picture, seed)[0], first[seed])


@pytest.mark.parametrize("name", POLICIES)
def test_the_input_is_left_as_it_was(name, picture):
    rgb, mask = picture[0].copy(), picture[1].copy()
    rgb.flags.writeable = mask.flags.writeable = False
    for seed in range(30):
        policy(name, SIZE)(rgb, mask, seed)
    np.testing.assert_array_equal(rgb, picture[0])
    np.testing.assert_array_equal(mask, picture[1])


@pytest.mark.parametrize("name", POLICIES)
def test_one_policy_shared_by_threads_gives_what_it_gives_alone(name, picture):
    augment = policy(name, SIZE)
    expected = [augment(*picture, seed)[0] for seed in range(60)]
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda seed: augment(*picture, seed)[0], list(range(60)) * 3))
    for seed, image in enumerate(results):
        np.testing.assert_array_equal(image, expected[seed % 60])


def test_a_policy_survives_pickling_after_use(picture):
    augment = policy("enhanced", SIZE)
    expected = augment(*picture, 5)
    again = pickle.loads(pickle.dumps(augment))
    assert (again.name, again.size) == ("enhanced", SIZE)
    np.testing.assert_array_equal(again(*picture, 5)[0], expected[0])


@pytest.mark.parametrize("name", ["forgery", "enhanced", "none"])
def test_a_picture_without_a_mask_is_augmented_as_one_with_an_empty_mask(name, picture):
    rgb = picture[0]
    for seed in range(20):
        image, mask = policy(name, SIZE)(rgb, None, seed)
        expected, _ = policy(name, SIZE)(rgb, np.zeros(rgb.shape[:2], dtype=bool), seed)
        np.testing.assert_array_equal(image, expected)
        assert not mask.any()


def test_flips_and_rotation_are_drawn_independently():
    corner = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    corner[: SIZE // 2, : SIZE // 3] = 255
    seen = {}
    for seed in range(400):
        image, _ = policy("native", SIZE)(corner, None, seed)
        ends = (image[4, 4, 0], image[4, -5, 0], image[-5, 4, 0], image[-5, -5, 0])
        upright = int(image[SIZE // 2 - 4, 4, 0]) + int(image[SIZE // 2 + 4, -5, 0])
        key = (int(np.argmax(ends)), upright > 127)
        seen[key] = seen.get(key, 0) + 1
    assert {corner for corner, _ in seen} == {0, 1, 2, 3}
    counts = [sum(n for (where, _), n in seen.items() if where == place) for place in range(4)]
    assert min(counts) > 60


@pytest.mark.parametrize("name", ["forgery", "enhanced", "native"])
def test_the_mask_follows_the_picture(name):
    mask = np.zeros((240, 320), dtype=bool)
    mask[60:160, 80:230] = True
    rgb = np.where(mask[..., None], np.uint8(235), np.uint8(20)).repeat(3, axis=2)
    agreement = []
    for seed in range(60):
        image, crop = policy(name, 192)(rgb, mask, seed)  # larger than the region: strong colours need both greys
        agreement.append(((image.mean(axis=2) > 127) == crop).mean())
    assert min(agreement) > 0.97


def test_the_native_policy_keeps_pixels_as_they_are_but_for_mild_changes(picture):
    rgb = picture[0]
    windows = {
        np.rot90(part, k).tobytes() for part in (rgb[:SIZE, :SIZE], rgb[:SIZE, :SIZE][:, ::-1]) for k in range(4)
    }
    exact = sum(policy("native", SIZE)(rgb[:SIZE, :SIZE], None, seed)[0].tobytes() in windows for seed in range(200))
    # Neither colour (0.3) nor compression (0.3): 0.49 of all.
    assert 70 < exact < 126


@pytest.mark.parametrize(("name", "share"), [("native", 0.7), ("forgery", 0.7), ("enhanced", 0.7), ("forgery", 0.3)])
def test_that_many_crops_of_a_forged_picture_hold_forged_pixels(name, share):
    mask = np.zeros((600, 800), dtype=bool)
    mask[50:56, 700:704] = True
    rgb = np.zeros((600, 800, 3), dtype=np.uint8)
    augment = policy(name, 64, forged_crops=share)
    hits = sum(augment(rgb, mask, seed)[1].any() for seed in range(300))
    # The crop inside of the window loses some; a crop anywhere finds hardly any.
    assert share - 0.1 < hits / 300 < share + 0.1
    anywhere = {augment(rgb, np.zeros_like(mask), seed)[1].any() for seed in range(20)}
    assert anywhere == {False}


@pytest.mark.parametrize("name", ["forgery", "enhanced"])
def test_a_picture_that_was_scaled_already_is_augmented_whole(name):
    rows = np.arange(SIZE, dtype=np.float32)[:, None]
    mask = (rows // 4 + rows.T // 4) % 2 == 0
    rgb = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8)
    crops = [policy(name, SIZE, native=False)(rgb, mask, seed)[1] for seed in range(40)]
    squares = [np.count_nonzero(np.diff(crop[0].view(np.int8))) for crop in crops]
    assert max(squares) <= SIZE / 4 - 1  # nothing mirrored beyond its edge
    assert np.median(squares) > 0.8 * SIZE / 4


def test_no_policy_yields_the_middle_untouched(picture):
    image, mask = policy("none", SIZE)(*picture, 3)
    np.testing.assert_array_equal(image, picture[0][102:198, 152:248])
    np.testing.assert_array_equal(mask, picture[1][102:198, 152:248])


def test_a_quarter_turn_is_that_of_the_library(picture):
    for seed in range(8):
        ours, theirs = RandomRotate90(p=1), A.RandomRotate90(p=1)
        ours.set_random_seed(seed)
        theirs.set_random_seed(seed)
        rgb, mask = picture[0], picture[1].view(np.uint8)
        turned, expected = ours(image=rgb, mask=mask), theirs(image=rgb, mask=mask)
        np.testing.assert_array_equal(turned["image"], expected["image"])
        np.testing.assert_array_equal(turned["mask"], expected["mask"])


def test_noise_has_the_deviation_asked_for_in_every_channel():
    noise = GaussNoise(std_range=(0.04, 0.04), p=1)
    noise.set_random_seed(3)
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    added = noise(image=grey)["image"].astype(float) - 128
    assert added.std(axis=(0, 1)) == pytest.approx([0.04 * 255] * 3, rel=0.02)
    assert abs(added.mean()) < 0.1
    assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.02


def test_noise_is_clipped_and_not_wrapped():
    noise = GaussNoise(std_range=(0.05, 0.05), p=1)
    assert noise(image=np.full((64, 64, 3), 255, dtype=np.uint8))["image"].min() > 150
    assert noise(image=np.zeros((64, 64, 3), dtype=np.uint8))["image"].max() < 100


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_compression_sees_red_as_red(kind):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 64), dtype=np.uint8)
    picture = np.full((64, 64, 3), 128, dtype=np.uint8)
    red, blue = picture.copy(), picture.copy()
    red[..., 0], blue[..., 2] = coarse, coarse
    once = ImageCompression(kind, quality_range=(90, 90), p=1)
    loss = [
        np.abs(once(image=given)["image"][..., c].astype(float) - coarse).mean() for given, c in ((red, 0), (blue, 2))
    ]
    # Luma weighs red 0.299 and blue 0.114, and colour is stored at half resolution: blue detail loses more.
    assert loss[1] > 1.2 * loss[0]


def test_an_unknown_policy_is_answered_with_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'forgery'"):
        policy("forgry")


def test_a_size_below_one_is_refused():
    with pytest.raises(SettingsError, match="size = 0"):
        policy("native", 0)


def test_importing_asks_nothing_of_the_network_and_leaves_the_environment_alone():
    code = (
        "import os, urllib.request, warnings\n"
        "warnings.simplefilter('error', UserWarning)\n"
        "def refuse(*a, **k): raise SystemExit('asked the network')\n"
        "urllib.request.build_opener = refuse\n"
        "before = dict(os.environ)\n"
        "import media.transforms\n"
        "changed = {k for k in before | dict(os.environ) if before.get(k) != os.environ.get(k)}\n"
        "assert 'NO_ALBUMENTATIONS_UPDATE' not in changed, changed\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
