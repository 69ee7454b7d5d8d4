import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from data.grouping import Hashes, fingerprint, group, near_pairs

NONE = np.empty(0, np.int64)
NO_LINKS = {"link_owner": NONE, "link": np.empty(0, np.uint64)}


def photographs() -> list[np.ndarray]:
    return [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.hubble_deep_field()[:500, :500]]


def hashes(pictures: list[np.ndarray]) -> Hashes:
    found = [(number, fingerprint(picture)) for number, picture in enumerate(pictures)]
    known = [(number, value) for number, value in found if value is not None]
    return Hashes(
        np.array([number for number, _ in known], np.int64),
        np.array([value.difference for _, value in known], np.uint64),
        np.array([value.frequency for _, value in known], np.uint64),
    )


def reencoded(rgb: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def noisy(rgb: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def test_copies_come_into_one_group_and_others_do_not() -> None:
    originals = photographs()
    copies = [
        [reencoded(p, 40) for p in originals],
        [cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in originals],
        [cv2.resize(p, None, fx=1.3, fy=1.3) for p in originals],
        [noisy(p) for p in originals],
    ]
    pictures = originals + [copy for kind in copies for copy in kind]
    labels = group(len(pictures), hashes(pictures), distance=4, **NO_LINKS)
    assert labels.tolist() == list(range(len(originals))) * (1 + len(copies))


def test_a_forged_part_keeps_the_group() -> None:
    picture = data.astronaut()
    forged = picture.copy()
    forged[300:380, 20:100] = picture[100:180, 300:380]
    labels = group(2, hashes([picture, forged]), distance=4, **NO_LINKS)
    assert labels.tolist() == [0, 0]


def test_flat_pictures_have_no_fingerprint_and_merge_nothing() -> None:
    rng = np.random.default_rng(0)
    white = np.full((200, 300, 3), 255, np.uint8)
    noise = np.clip(128 + rng.normal(0, 3, (200, 300, 3)), 0, 255).astype(np.uint8)
    text = white.copy()
    text[90:100, 40:60] = 0
    assert [fingerprint(picture) for picture in (white, noise, text)] == [None, None, None]
    pictures = [white, noise, text, data.astronaut(), white]
    assert group(5, hashes(pictures), distance=8, **NO_LINKS).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3), (9, 8)])
def test_tiny_pictures_can_be_asked(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert fingerprint(rgb) == fingerprint(rgb.copy())


def test_mirror_images_are_found_where_their_hashes_are_given() -> None:
    picture = data.coffee()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    plain = hashes([picture, mirrored])
    assert group(2, plain, distance=4, **NO_LINKS).tolist() == [0, 1]
    both = hashes([picture, mirrored, mirrored, picture])
    owners = Hashes(np.array([0, 1, 0, 1]), both.difference, both.frequency)
    assert group(2, owners, distance=4, **NO_LINKS).tolist() == [0, 0]


def test_links_connect_across_several_steps() -> None:
    owner = np.array([0, 1, 1, 2, 4, 5], np.int64)
    link = np.array([7, 7, 9, 9, 1, 2], np.uint64)
    empty = Hashes(NONE, np.empty(0, np.uint64), np.empty(0, np.uint64))
    assert group(6, empty, owner, link, distance=None).tolist() == [0, 0, 0, 3, 4, 5]
    assert group(0, empty, distance=4, **NO_LINKS).tolist() == []


def slow_components(count: int, edges: list[tuple[int, int]]) -> list[int]:
    labels = list(range(count))
    for _ in range(count):
        for left, right in edges:
            labels[left] = labels[right] = min(labels[left], labels[right])
    return labels


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_groups_are_the_components_of_all_near_pairs_and_links(count: int, distance: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, 4, dtype=np.uint64)
    flips = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (count, 5)).astype(np.uint64), axis=1)
    difference = centres[rng.integers(0, 4, count)] ^ np.where(rng.random(count) < 0.8, flips, np.uint64(0))
    frequency = difference ^ (np.uint64(0xFFFFFFFF) * rng.integers(0, 2, count).astype(np.uint64))
    link_owner = rng.integers(0, count, 6)
    link = rng.integers(0, 4, 6).astype(np.uint64)
    found = group(count, Hashes(np.arange(count), difference, frequency), link_owner, link, distance=distance)
    near = [
        (i, j)
        for i in range(count)
        for j in range(i)
        if (int(difference[i]) ^ int(difference[j])).bit_count() <= distance
        and (int(frequency[i]) ^ int(frequency[j])).bit_count() <= 16
    ]
    linked = [(int(link_owner[i]), int(link_owner[j])) for i in range(6) for j in range(i) if link[i] == link[j]]
    assert found.tolist() == slow_components(count, near + linked)


def test_two_hundred_thousand_pictures_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    count = 200_000
    difference = rng.integers(0, 2**63, count, dtype=np.uint64)
    frequency = rng.integers(0, 2**63, count, dtype=np.uint64)
    difference[-1], frequency[-1] = difference[0] ^ np.uint64(0b1011), frequency[0]
    difference[count // 2 : count // 2 + 20_000] = difference[5]  # one picture, many times
    frequency[count // 2 : count // 2 + 20_000] = frequency[5]
    start = time.process_time()
    labels = group(count, Hashes(np.arange(count), difference, frequency), distance=4, **NO_LINKS)
    assert time.process_time() - start < 20
    assert labels[-1] == 0
    assert (labels[count // 2 : count // 2 + 20_000] == 5).all()
    assert len(np.unique(labels)) == count - 20_001


def test_pairs_name_owners_rather_than_positions() -> None:
    same = Hashes(np.array([40, 7]), np.array([5, 5], np.uint64), np.array([3, 3], np.uint64))
    pairs = {
        frozenset((int(a), int(b))) for left, right in near_pairs(same, 0) for a, b in zip(left, right, strict=True)
    }
    assert pairs == {frozenset((40, 7))}
