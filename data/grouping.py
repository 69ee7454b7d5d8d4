"""Which samples must not be parted by a split: connected components over shared links and perceptual near-duplicates.

Near-duplicates are found by two 64-bit hashes of a picture's grey levels, a difference hash and a frequency hash: the
first within a given Hamming distance, and the second within a generous one, as a check by other means.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 64
# The second hash of unrelated pictures lies at 32 ± 4; that of a picture with a moved sixteenth stays below 17 in 98 %.
FREQUENCY_DISTANCE = 16
# Two neighbouring cells differ visibly by more than so many of 255 grey levels; a picture with fewer such pairs among
# its 64 (a blank page, an even sky) has a hash of noise, and would be near to all its like.
_VISIBLE = 2.0
_MIN_CONTRASTS = 16


@dataclass(frozen=True)
class Fingerprint:
    """Two 64-bit hashes of one picture."""

    difference: int
    frequency: int


def fingerprint(rgb: NDArray[np.uint8]) -> Fingerprint | None:
    """Hash a picture so that re-encoded, resized or slightly cropped copies of it get nearly the same bits.

    Args:
        rgb: uint8 [H, W, 3].

    Returns:
        The hashes, or None for a picture so flat that its hash would mean nothing.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (36, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    steps = np.diff(cv2.resize(cells, (9, 8), interpolation=cv2.INTER_AREA), axis=1)
    if int((np.abs(steps) > _VISIBLE).sum()) < _MIN_CONTRASTS:
        return None
    waves = cv2.dct(cv2.resize(cells, (32, 32), interpolation=cv2.INTER_AREA))[:8, :8].ravel()
    waves[0] = 0.0  # the mean brightness, which says nothing about the content
    return Fingerprint(_pack(steps.ravel() > 0), _pack(waves > np.median(waves[1:])))


def _pack(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@dataclass(frozen=True)
class Hashes:
    """The hashes of many pictures: parallel arrays of owner (row number, int64) and the two hashes (uint64).

    An owner may come more than once, for instance with the hash of its mirror image, or not at all.
    """

    owner: NDArray[np.int64]
    difference: NDArray[np.uint64]
    frequency: NDArray[np.uint64]


def group(
    count: int,
    hashes: Hashes,
    link_owner: NDArray[np.int64],
    link: NDArray[np.uint64],
    *,
    distance: int | None,
) -> NDArray[np.int64]:
    """Find the connected components of ``count`` samples.

    Args:
        count: number of samples, numbered from 0.
        hashes: of those that have any.
        link_owner: sample of each link.
        link: hashed links; equal ones connect their owners.
        distance: greatest Hamming distance of the difference hashes of near-duplicates, 0 to 8; None compares none.

    Returns:
        int64 [count]: the lowest sample number in each one's component.
    """
    labels = np.arange(count, dtype=np.int64)
    for left, right in _equal_links(link_owner, link):
        labels = _merge(labels, left, right)
    if distance is not None:
        for left, right in near_pairs(hashes, distance):
            labels = _merge(labels, left, right)
    return labels


def near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of owners whose hashes are near, in blocks; a pair may come more than once, or twice the same owner.

    Of two hashes that differ in at most d of 64 bits, at least one of d + 1 bands of bits is equal: only pictures that
    agree in a band are compared (multi-index hashing, Norouzi et al. 2012).
    """
    order = np.lexsort((hashes.frequency, hashes.difference))
    owner, first, second = hashes.owner[order], hashes.difference[order], hashes.frequency[order]
    same = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    yield owner[1:][same], owner[:-1][same]
    distinct = np.concatenate([np.ones(min(1, len(order)), np.bool_), ~same])
    owner, first, second = owner[distinct], first[distinct], second[distinct]
    edges = np.linspace(0, BITS, distance + 2).astype(np.uint64)
    for low, high in pairwise(edges):
        band = (first >> low) & np.uint64((1 << int(high - low)) - 1)
        for left, right in _equal_pairs(band):
            close = np.bitwise_count(first[left] ^ first[right]) <= distance
            left, right = left[close], right[close]
            alike = np.bitwise_count(second[left] ^ second[right]) <= FREQUENCY_DISTANCE
            if alike.any():
                yield owner[left[alike]], owner[right[alike]]


def _equal_pairs(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs of positions with equal keys, at most one partner for each position at a time."""
    order = np.argsort(keys, kind="stable").astype(np.int64)
    ordered = keys[order]
    ends = np.searchsorted(ordered, ordered, side="right")
    positions = np.arange(len(keys), dtype=np.int64)
    step = 1
    while len(positions := positions[positions + step < ends[positions]]):
        yield order[positions], order[positions + step]
        step += 1


def _equal_links(
    owner: NDArray[np.int64], link: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    order = np.argsort(link, kind="stable")
    same = link[order][1:] == link[order][:-1]
    yield owner[order][1:][same], owner[order][:-1][same]


def _merge(labels: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Union: hook the greater root of each pair under the lesser, then shorten all paths, until every pair agrees."""
    while True:
        one, other = labels[left], labels[right]
        differ = one != other
        if not differ.any():
            return labels
        left, right = left[differ], right[differ]
        low, high = np.minimum(one, other)[differ], np.maximum(one, other)[differ]
        np.minimum.at(labels, high, low)
        while not np.array_equal(shorter := labels[labels], labels):
            labels = shorter
