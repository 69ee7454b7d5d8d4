"""The policies that faces are augmented with, which keep crops whole and treat a clip's frames alike."""

from collections import Counter

import numpy as np
import pytest
from skimage import data

from core.errors import SettingsError
from media.transforms import POLICIES, FrameNoise, ShiftedCompression, VideoCompression, compose, policy

FACES = ("faces", "faces_light")


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(data.astronaut()[50:178, 160:288])


def _kinds(steps):
    for step in steps:
        yield type(step)
        yield from _kinds(getattr(step, "transforms", ()))


def test_faces_go_through_everything_that_is_asked_of_them():
    names = Counter(kind.__name__ for kind in _kinds(compose("faces", 64).transforms))
    assert names["HorizontalFlip"] == names["FrameNoise"] == names["Downscale"] == names["GaussianBlur"] == 1
    assert names["ShiftedCompression"] == 2  # repeated compression
    assert names["VideoCompression"] == 1
    assert not {"VerticalFlip", "RandomRotate90", "RandomResizedCrop"} & set(names)  # faces stand upright


@pytest.mark.parametrize("name", FACES)
def test_a_window_of_the_crop_is_kept_in_its_proportions(name, face):
    least = {"faces": 0.9, "faces_light": 0.95}[name]
    shapes = {policy(name, None)(face, None, seed)[0].shape[:2] for seed in range(60)}
    assert len(shapes) > 5
    assert all(height == width and least * 128 - 1 <= height <= 128 for height, width in shapes)


def test_no_policy_leaves_a_whole_picture_as_it_is(face):
    mask = face[..., 0] > 128
    image, kept = policy("none", None)(face, mask, 3)
    np.testing.assert_array_equal(image, face)
    np.testing.assert_array_equal(kept, mask)


@pytest.mark.parametrize("name", ["forgery", "enhanced"])
def test_policies_that_scale_crops_need_a_size(name):
    with pytest.raises(SettingsError, match="policies that keep a picture: native, faces, faces_light, none"):
        policy(name, None)


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("forgery", "enhanced")])
def test_the_mask_follows_the_face(name):
    mask = np.zeros((128, 128), dtype=bool)
    mask[30:80, 20:60] = True
    rgb = np.where(mask[..., None], np.uint8(220), np.uint8(30)).repeat(3, axis=2)
    for seed in range(80):
        image, kept = policy(name, None)(rgb, mask, seed)
        assert kept.shape == image.shape[:2]
        assert ((image.mean(axis=2) > 127) == kept).mean() > 0.97


@pytest.mark.parametrize("name", FACES)
def test_the_frames_of_a_clip_share_every_parameter(name, face):
    """Frames of other content meet the same window, flip, colours and compression."""
    augment = policy(name, None)
    mask = np.zeros((128, 128), dtype=bool)
    mask[10:50, 10:40] = True
    grey = np.full_like(face, 128)
    for seed in range(60):
        windows, means = [], []
        for frame, rgb in enumerate((face, np.ascontiguousarray(face[::-1]), grey, grey)):
            image, kept = augment(rgb, mask, seed, frame=frame)
            windows.append((image.shape, kept.tobytes()))
            means.append(image.mean(axis=(0, 1)))
        assert len(set(windows)) == 1
        np.testing.assert_allclose(means[2], means[3], atol=3)  # what noise and its compression leave of it


def test_noise_is_new_in_every_frame_and_no_draw_after_it_changes(face):
    augment = policy("faces", None)
    differing = 0
    for seed in range(120):
        first, second = (augment(face, None, seed, frame=frame)[0] for frame in (0, 1))
        again = augment(face, None, seed, frame=1)[0]
        np.testing.assert_array_equal(second, again)
        differing += first.tobytes() != second.tobytes()
        assert np.abs(first.astype(int) - second).mean() < 12
    assert 10 < differing < 40  # p 0.2 of 120


def test_frame_noise_has_the_deviation_asked_for():
    noise = FrameNoise(std_range=(0.03, 0.03), p=1)
    noise.set_random_seed(3)
    grey = np.full((128, 128, 3), 128, dtype=np.uint8)
    maps = [noise(image=grey, frame=frame)["image"].astype(float) - 128 for frame in (0, 1)]
    assert [added.std() for added in maps] == pytest.approx([0.03 * 255] * 2, rel=0.03)
    assert abs(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]) < 0.03


def test_compressions_draw_from_their_ranges(face):
    jpeg, video = ShiftedCompression((40, 42)), VideoCompression((20, 40), (0.6, 1.0))
    for step in (jpeg, video):
        step.set_random_seed(1)
    drawn = [jpeg.get_params() for _ in range(300)]
    assert {params["quality"] for params in drawn} == {40, 41, 42}
    assert {value for params in drawn for value in params["shift"]} == set(range(8))
    videos = [video.get_params() for _ in range(200)]
    assert {params["crf"] for params in videos} == set(range(20, 41))
    assert all(0.6 <= params["scale"] <= 1 for params in videos)
    assert video(image=face)["image"].shape == face.shape
