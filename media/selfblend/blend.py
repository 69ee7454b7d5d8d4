"""Blending a face with a transformed copy of itself.

The idea is that of K. Shiohara and T. Yamasaki, Detecting Deepfakes with Self-Blended Images (2022): whatever made a
forged face, it was put into a picture that it does not quite fit, so a detector that learns to see two copies of one
picture meet inside a face needs no forgery to learn from, and no trace of any one method to rely on. Here the outline
is a deformed template placed by the crop's specification instead of landmarks.
"""

import numpy as np
from numpy.typing import NDArray

from media.selfblend.differences import draw_differences
from media.selfblend.regions import draw_region, render_region
from media.spec import FaceSpec

# How much of the copy shows where it is blended in; the full copy is the most common.
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


def self_blend(rgb: NDArray[np.uint8], faces: FaceSpec, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Make a pseudo-fake of a face crop.

    A pure function of its arguments; the parameters depend on the seed alone, so that the frames of a clip which share
    a seed are blended alike.

    Args:
        rgb: uint8 [H, W, 3], RGB, a face crop of any size; never changed.
        faces: how the crop was cut; its margin places the face.
        seed: not negative.

    Returns:
        uint8 [H, W, 3], and bool [H, W]: where at least half of what was blended in shows.
    """
    rng = np.random.default_rng(seed)
    region, differences = draw_region(rng), draw_differences(rng)
    ratio, inside = float(rng.choice(RATIOS)), bool(rng.random() < 0.5)
    weight = render_region(region, rgb.shape[0], rgb.shape[1], faces.margin)
    # Either the face that is blended in has other colours and frequencies, or the picture that it comes into.
    changed = differences.change(rgb)
    face, picture = (changed, rgb) if inside else (rgb, changed)
    share = (ratio * weight)[..., None]
    mixed = picture + share * (differences.move(face).astype(np.float32) - picture)
    return np.rint(mixed).astype(np.uint8), weight >= 0.5
