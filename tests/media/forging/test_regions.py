import cv2
import numpy as np
import pytest

from media.forging.regions import LARGE, OBJECTS, draw_region
from media.forging.segments import border_region, cut_out, object_region, shrink, standing_out


def disc(radius=40, shape=(180, 240), centre=(110, 90)):
    rng = np.random.default_rng(0)
    rgb = rng.normal((60, 110, 60), 6, (*shape, 3))
    mask = np.zeros(shape, np.uint8)
    cv2.circle(mask, centre, radius, 1, -1)
    rgb[mask > 0] += (140, -30, 20)
    return np.clip(rgb, 0, 255).astype(np.uint8), mask > 0


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("shape", sorted(set(OBJECTS) | set(LARGE)))
def test_every_shape_is_a_mask_of_the_picture_and_repeats(photos, shape):
    for seed in range(4):
        first, second = (draw_region(np.random.default_rng(seed), photos["coffee"], shape, 0.15) for _ in range(2))
        assert first.dtype == np.bool_
        assert first.shape == photos["coffee"].shape[:2]
        assert np.array_equal(first, second)


@pytest.mark.parametrize("shape", ["blob", "polygon", "rectangle", "half", "object", "background"])
def test_areas_come_out_about_as_wanted(photos, shape):
    target = 0.12
    areas = [draw_region(np.random.default_rng(s), photos["astronaut"], shape, target).mean() for s in range(20)]
    assert 0.5 * target < np.median(areas) < 1.5 * target


def test_shapes_differ_between_seeds(photos):
    made = {draw_region(np.random.default_rng(s), photos["coffee"], "blob", 0.1).tobytes() for s in range(6)}
    assert len(made) == 6


def test_objects_follow_the_edges_in_the_picture():
    rgb, mask = disc()
    found = [object_region(rgb, np.random.default_rng(seed), float(mask.mean())) for seed in range(8)]
    assert np.median([overlap(region, mask) for region in found]) > 0.75


def test_cut_out_finds_what_stands_in_the_box():
    rgb, mask = disc(30, (120, 128), (60, 60))
    assert overlap(cut_out(rgb, np.random.default_rng(0), (22, 22, 78, 78)), mask) > 0.9


def test_cut_out_of_a_box_too_thin_is_empty():
    rgb, _ = disc()
    assert not cut_out(rgb, np.random.default_rng(0), (10, 10, 2, 50)).any()


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
def test_backgrounds_grow_from_their_side(photos, side):
    region = border_region(photos["rocket"], np.random.default_rng(1), 0.3, side)
    line = {"top": region[0], "bottom": region[-1], "left": region[:, 0], "right": region[:, -1]}[side]
    assert line.mean() > 0.9


def test_an_object_stands_out_more_than_a_patch_of_background_or_of_border():
    rgb, mask = disc()
    patch = np.zeros_like(mask)
    patch[5:60, 160:230] = True
    border = np.zeros_like(mask)
    border[:, :100] = True
    scores = [standing_out(rgb, region) for region in (mask, patch, border)]
    assert scores[0] > scores[1]
    assert scores[0] > scores[2]
    assert standing_out(rgb, np.zeros_like(mask)) == 0


def test_objects_are_one_part_without_holes(photos):
    for seed in range(6):
        region = object_region(photos["coffee"], np.random.default_rng(seed), 0.1).astype(np.uint8)
        assert cv2.connectedComponents(region)[0] == 2
        framed = cv2.copyMakeBorder(1 - region, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
        assert cv2.connectedComponents(framed, connectivity=4)[0] == 2


def test_shrinking_keeps_small_pictures_as_they_are(photos):
    assert shrink(photos["coffee"], 500) is photos["coffee"]
    assert max(shrink(photos["coffee"], 100).shape) == 100
