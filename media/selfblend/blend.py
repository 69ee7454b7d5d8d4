"""Blending a face with a transformed copy of itself.

The idea is that of K. Shiohara and T. Yamasaki, Detecting Deepfakes with Self-Blended Images (2022): whatever made a
forged face, it was put into a picture that it does not quite fit, so a detector that learns to see two copies of one
picture meet inside a face needs no forgery to learn from, and no trace of any one method to rely on. Here the outline
is a deformed template placed by the face's box instead of landmarks.
"""

from dataclasses import replace

import numpy as np

from media.selfblend.differences import draw_differences
from media.selfblend.placing import place_of
from media.selfblend.regions import draw_region, render_region
from media.view import StoredSample

# How much of the copy shows where it is blended in; the full copy is the most common.
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


def self_blend(sample: StoredSample, margin: float, seed: int) -> StoredSample:
    """Make a pseudo-fake of a stored face.

    A pure function of its arguments; the parameters depend on the seed alone, so that the frames of a clip which share
    a seed are blended alike.

    Args:
        sample: a face crop of any size; never changed.
        margin: ``FaceSpec.margin`` of the data set; it places the face in a crop that others cut.
        seed: not negative.

    Returns:
        The sample with other pixels, and a mask: where at least half of what was blended in shows.
    """
    rng = np.random.default_rng(seed)
    region, differences = draw_region(rng), draw_differences(rng)
    ratio, inside = float(rng.choice(RATIOS)), bool(rng.random() < 0.5)
    rgb, place = sample.rgb, place_of(sample, margin)
    weight = render_region(region, rgb.shape[0], rgb.shape[1], place)
    # Either the face that is blended in has other colours and frequencies, or the picture that it comes into.
    changed = differences.change(rgb, place)
    face, picture = (changed, rgb) if inside else (rgb, changed)
    share = (ratio * weight)[..., None]
    mixed = picture + share * (differences.move(face, place).astype(np.float32) - picture)
    return replace(sample, rgb=np.rint(mixed).astype(np.uint8), mask=weight >= 0.5)
