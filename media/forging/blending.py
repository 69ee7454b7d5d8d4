"""Setting a region into a picture: soft edges, colours and noise of the surroundings, healed and blurred seams."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Alpha = NDArray[np.float32]

# The median absolute deviation of a normal distribution is 0.6745 standard deviations; the kernel of the Laplacian
# difference below has the norm 6 (Immerkær 1996, "Fast Noise Variance Estimation").
MAD = 0.6745
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
NOISE_NORM = 6.0


def grown(mask: Mask, pixels: int) -> Mask:
    """Return the mask grown by ``pixels`` px, or shrunk where negative."""
    if pixels == 0:
        return mask
    size = 2 * abs(pixels) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if pixels > 0 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), kernel) > 0)


def ring(mask: Mask, pixels: int) -> Mask:
    """Return the band of ``pixels`` px around a mask."""
    return grown(mask, pixels) & ~mask


def soft_edge(mask: Mask, sigma: float) -> Alpha:
    """Return the opacity 0..1 of a mask whose edge is blurred by ``sigma`` px; at most 3·sigma px beyond it."""
    alpha = mask.astype(np.float32)
    if sigma <= 0:
        return alpha
    size = 2 * max(1, int(np.ceil(3 * sigma))) + 1
    return np.asarray(cv2.GaussianBlur(alpha, (size, size), sigma), dtype=np.float32)


def compose(host: Picture, content: Picture, alpha: Alpha) -> Picture:
    """Return content over host; where the opacity is 0 the host's bytes, where 1 the content's."""
    weight = alpha[..., None]
    mixed = np.rint(host * (1 - weight) + content * weight)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def match_colours(content: Picture, region: Mask, host: Picture, around: Mask, strength: float) -> Picture:
    """Shift mean and spread of a region's Lab colours towards those of its new surroundings.

    Reinhard et al. 2001, "Color Transfer between Images", here applied by ``strength`` (0..1), with the change of
    spread held to 0.7..1.4 so that flat surroundings do not flatten an object.
    """
    if not region.any() or not around.any():
        return content
    source = cv2.cvtColor(content, cv2.COLOR_RGB2LAB).astype(np.float32)
    target = cv2.cvtColor(host, cv2.COLOR_RGB2LAB)[around].astype(np.float32)
    inside = source[region]
    mean, spread = inside.mean(axis=0), inside.std(axis=0) + 1.0
    ratio = np.clip((target.std(axis=0) + 1.0) / spread, 0.7, 1.4)
    moved = (source - mean) * ratio + target.mean(axis=0)
    mixed = np.clip(np.rint(source + strength * (moved - source)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def noise_level(rgb: Picture, mask: Mask) -> float:
    """Estimate the standard deviation of the noise inside a mask, grey levels, robust against the picture's edges."""
    if not mask.any():
        return 0.0
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    response = np.abs(cv2.filter2D(grey, -1, NOISE_KERNEL))[mask]
    return float(np.median(response)) / MAD / NOISE_NORM


def match_noise(content: Picture, region: Mask, target: float, rng: np.random.Generator) -> Picture:
    """Bring a region's noise to the level ``target``: add what is missing, or smooth where there is too much."""
    present = noise_level(content, region)
    if present > target * 1.3:
        return np.asarray(cv2.GaussianBlur(content, (3, 3), 0.6), dtype=np.uint8)
    missing = float(np.sqrt(max(0.0, target**2 - present**2)))
    noise = rng.standard_normal(content.shape, dtype=np.float32) * missing
    return np.clip(np.rint(content + noise), 0, 255).astype(np.uint8)


def _spread_inwards(values: NDArray[np.float32], weight: Alpha) -> NDArray[np.float32]:
    """Fill where ``weight`` is 0 smoothly from where it is 1, by pulling coarser means up a pyramid."""
    if min(weight.shape) <= 2 or weight.min() > 0:
        return np.asarray(values / np.maximum(weight, 1e-6)[..., None], dtype=np.float32)
    size = (weight.shape[1], weight.shape[0])
    halves = (np.asarray(cv2.pyrDown(plane), dtype=np.float32) for plane in (values, weight))
    coarse = _spread_inwards(*halves)
    filled = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    known = np.minimum(weight, 1.0)[..., None]
    return np.asarray(values + (1 - known) * filled, dtype=np.float32)


def heal_seam(content: Picture, region: Mask, host: Picture) -> Picture:
    """Level out the difference along the region's edge and let it fade inwards, as a healing brush does.

    A fast stand-in for solving the Poisson equation (Pérez et al. 2003, "Poisson Image Editing"): the correction at
    the seam is interpolated over the region by a pyramid (Farbman et al. 2009, "Convolution Pyramids").
    """
    seam = ring(region, 2)
    if not seam.any():
        return content
    known = seam.astype(np.float32)
    difference = (host.astype(np.float32) - content.astype(np.float32)) * known[..., None]
    correction = _spread_inwards(difference, known)
    return np.asarray(np.clip(np.rint(content + correction), 0, 255), dtype=np.uint8)


def blur_seam(picture: Picture, mask: Mask, sigma: float, width: int) -> Picture:
    """Blur a band of ``width`` px on either side of the mask's edge."""
    edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    band = soft_edge(grown(edge, max(0, width - 1)), 0.5)
    return compose(picture, np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.uint8), band)


def visible_difference(before: Picture, after: Picture, mask: Mask) -> float:
    """Return the mean absolute difference inside the mask after a 3×3 mean, grey levels 0..255."""
    if not mask.any():
        return 0.0
    difference: NDArray[Any] = cv2.absdiff(cv2.blur(before, (3, 3)), cv2.blur(after, (3, 3)))
    return float(difference[mask].mean())
