import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from media.extraction import FaceSpec
from media.faces.cropping import cut_face
from media.faces.detector import Face
from media.selfblend.blend import self_blend
from media.view import StoredSample, Subject

SIDE = 128


def blend(rgb, margin, seed):
    """Blend a crop that others cut; return its pixels and mask."""
    sample = self_blend(StoredSample(rgb), margin, seed)
    return sample.rgb, sample.mask


@pytest.fixture(scope="module")
def face():
    crop = np.ascontiguousarray(data.astronaut()[50:210, 145:305])
    return cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**64 - 1),
    st.floats(1.0, 3.0),
    st.tuples(st.integers(16, 140), st.integers(16, 140)),
)
def test_every_crop_gets_a_blend_and_a_mask_of_its_size(seed, margin, shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    before = rgb.copy()
    rgb.flags.writeable = False
    blended, mask = blend(rgb, margin, seed)
    assert (blended.shape, blended.dtype) == (rgb.shape, np.uint8)
    assert (mask.shape, mask.dtype) == (shape, np.bool_)
    assert mask.any()
    assert (blended != rgb).any()
    np.testing.assert_array_equal(rgb, before)


def test_it_is_a_function_of_its_seed(face):
    first = [blend(face, 1.0, seed) for seed in range(30)]
    for seed in reversed(range(30)):
        blended, mask = blend(face, 1.0, seed)
        np.testing.assert_array_equal(blended, first[seed][0])
        np.testing.assert_array_equal(mask, first[seed][1])
    assert len({blended.tobytes() for blended, _ in first}) == 30
    assert len({mask.tobytes() for _, mask in first}) == 30


def test_the_frames_of_a_clip_are_blended_alike(face):
    other = np.ascontiguousarray(face[::-1] // 2)
    for seed in range(30):
        masks = [blend(frame, 1.0, seed)[1] for frame in (face, other)]
        np.testing.assert_array_equal(*masks)


def test_the_mask_is_where_the_two_copies_are_exchanged(face):
    """Inside the mask the picture is one copy and far outside the other, so one of the two is left untouched."""
    touched = []
    for seed in range(200):
        blended, mask = blend(face, 1.3, seed)
        away = ~cv2.dilate(mask.view(np.uint8), np.ones((45, 45))).astype(bool)
        difference = np.abs(blended.astype(int) - face).mean(axis=2)
        if away.any():
            touched.append((difference[mask].mean(), difference[away].mean()))
    inside, outside = np.array(touched).T
    assert len(touched) > 100
    assert (inside > 0.5).all()  # what is blended in is always moved, whoever has the other colours
    untouched = outside < 0.1
    assert 0.3 < untouched.mean() < 0.7  # either copy may be the changed one
    assert (inside[untouched] > 5 * outside[untouched]).all()


def test_masks_lie_on_the_face_whatever_the_margin(face):
    for margin in (1.0, 1.3, 2.0):
        masks = np.stack([blend(face, margin, seed)[1] for seed in range(100)])
        rows, columns = np.nonzero(masks.mean(axis=0) > 0.02)
        reach = SIDE / margin / 2 * 1.2
        assert np.abs(rows - SIDE / 2).max() <= reach and np.abs(columns - SIDE / 2).max() <= reach
        areas = masks.mean(axis=(1, 2)) * margin**2
        assert areas.min() > 0.01 and areas.max() < 0.8
        assert areas.min() < 0.2 < np.median(areas)  # parts of faces and whole ones


def test_a_stored_face_is_blended_where_its_box_lies():
    """Which, in the crop of the margin alone, is where a crop that others cut is blended."""
    frame = np.ascontiguousarray(data.astronaut()[:300, 50:400])
    landmarks = np.zeros((5, 2), np.float32)
    cut = cut_face(frame, Face((100, 50, 200, 150), 0.9, landmarks), FaceSpec(margin=2.6))
    stored = StoredSample(cut.rgb, subject=Subject(cut.box, cut.landmarks), grid=cut.grid)
    for seed in range(40):
        _, mask = blend(np.ascontiguousarray(cut.rgb[65:195, 65:195]), 1.3, seed)
        wide = self_blend(stored, 1.3, seed)
        assert (wide.subject, wide.grid) == (stored.subject, stored.grid)
        assert np.count_nonzero(wide.mask[65:195, 65:195] != mask) <= 0.02 * max(mask.sum(), 500)


def test_it_is_fast_enough_for_a_loader():
    rgb = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    blend(rgb, 1.3, 0)
    taken = []
    for seed in range(40):
        started = time.perf_counter()
        blend(rgb, 1.3, seed)
        taken.append(time.perf_counter() - started)
    assert np.median(taken) < 0.010
