import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.errors import SettingsError
from core.settings import validate
from data.index import SPLITS
from data.splits import (
    Leak,
    SplitError,
    SplitSettings,
    assign_beside_official,
    assign_by_fractions,
    find_leak,
    require_classes,
    require_no_overlap,
)

CLASSES = ("authentic", "forged")


def samples(count: int, seed: int = 0, group_size: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.arange(count) // group_size * group_size
    labels = rng.integers(0, 2, count).astype(np.int8)
    fractions = np.where(labels == 1, 10 ** rng.uniform(-3, -0.5, count), 0.0)
    return groups, rng.integers(0, 2**63, count, dtype=np.uint64), labels, fractions


def test_every_stratum_gets_its_fraction() -> None:
    groups, keys, labels, fractions = samples(4000, group_size=2)
    splits = assign_by_fractions(groups, keys, labels, fractions, CLASSES, SplitSettings())
    bands = np.where(labels == 0, -1, np.digitize(fractions, (0.01, 0.05)))
    for band in (-1, 0, 1, 2):
        shares = np.bincount(splits[bands == band], minlength=3) / (bands == band).sum()
        assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_the_seed_decides_and_nothing_else() -> None:
    groups, keys, labels, fractions = samples(300)
    splits = [assign_by_fractions(groups, keys, labels, fractions, CLASSES, SplitSettings(seed=s)) for s in (1, 1, 2)]
    assert np.array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


def test_groups_fall_by_their_own_keys() -> None:
    groups, keys, labels, fractions = samples(300)
    splits = assign_by_fractions(groups, keys, labels, fractions, CLASSES, SplitSettings(seed=3))
    order = np.random.default_rng(0).permutation(300)
    place = np.argsort(order)  # where each sample went
    shuffled = assign_by_fractions(
        place[groups[order]], keys[order], labels[order], fractions[order], CLASSES, SplitSettings(seed=3)
    )
    assert np.array_equal(shuffled, splits[order])


@settings(max_examples=150, deadline=None)
@given(st.integers(6, 60), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_no_group_is_parted_and_no_class_is_missing(count: int, group_size: int, seed: int) -> None:
    groups, keys, labels, fractions = samples(count, seed, group_size)
    per_group = [set(labels[groups == root]) for root in np.unique(groups)]
    # Three groups of both classes, or three of each: then a split with all classes everywhere exists.
    assume(sum(held == {0, 1} for held in per_group) >= 3 or min(per_group.count({0}), per_group.count({1})) >= 3)
    splits = assign_by_fractions(groups, keys, labels, fractions, CLASSES, SplitSettings(seed=seed))
    for root in np.unique(groups):
        assert len(set(splits[groups == root])) == 1
    for split in range(3):
        assert set(labels[splits == split]) == {0, 1}
    require_no_overlap(groups, splits, lambda numbers: {})
    require_classes(splits, labels, CLASSES)


def test_a_class_that_cannot_reach_a_split_is_an_error_that_names_both() -> None:
    groups, keys, _, fractions = samples(50)
    labels = np.zeros(50, np.int8)
    labels[:2] = 1
    with pytest.raises(SplitError, match="no forged sample: the data set has 2 in 2 group"):
        assign_by_fractions(groups, keys, labels, fractions, CLASSES, SplitSettings())
    with pytest.raises(SplitError, match="split 'train' has no forged sample"):
        assign_by_fractions(groups, keys, np.zeros(50, np.int8), fractions, CLASSES, SplitSettings())
    with pytest.raises(SplitError, match="largest group of all holds 50 of 50"):
        assign_by_fractions(np.zeros(50, np.int64), keys, labels, fractions, CLASSES, SplitSettings())


def test_every_class_reaches_every_split_whatever_their_number() -> None:
    classes = ("normal", "fight", "robbery", "fire")
    groups, keys, _, _ = samples(60)
    labels = np.array([0] * 45 + [1] * 6 + [2] * 6 + [3] * 3, np.int8)
    fractions = (labels > 0).astype(np.float64)
    splits = assign_by_fractions(groups, keys, labels, fractions, classes, SplitSettings())
    for split in range(3):
        assert set(labels[splits == split]) == {0, 1, 2, 3}
    require_classes(splits, labels, classes)
    with pytest.raises(SplitError, match="has no fire sample: the data set has 2 in 2 group"):
        assign_by_fractions(groups[:-1], keys[:-1], labels[:-1], fractions[:-1], classes, SplitSettings())


def test_a_split_without_a_fraction_stays_empty() -> None:
    groups, keys, labels, fractions = samples(100)
    splits = assign_by_fractions(
        groups, keys, labels, fractions, CLASSES, SplitSettings(fractions={"train": 0.7, "val": 0.3})
    )
    assert set(splits.tolist()) == {SPLITS.index("train"), SPLITS.index("val")}


@given(st.integers(0, 2**32), st.integers(1, 4), st.sets(st.integers(0, 2), min_size=1, max_size=3))
def test_official_splits_stay_and_nothing_of_their_groups_goes_elsewhere(
    seed: int, group_size: int, named: set[int]
) -> None:
    groups, keys, labels, fractions = samples(400, seed, group_size)
    draw = np.random.default_rng(seed)
    official = np.full(400, -1, np.int8)
    for root in np.unique(groups)[::5]:
        members = np.flatnonzero(groups == root)
        official[members[: draw.integers(1, len(members) + 1)]] = draw.choice(sorted(named))
    splits = assign_beside_official(groups, keys, labels, fractions, official, CLASSES, SplitSettings())
    assert np.array_equal(splits[official >= 0], official[official >= 0])
    present = set(np.unique(official[official >= 0]).tolist())
    touched = np.isin(groups, groups[official >= 0])
    assert (splits[touched & (official < 0)] == -1).all()
    assert set(np.unique(splits[~touched]).tolist()) == ({0, 1, 2} - present or {-1})
    require_no_overlap(groups, splits, lambda numbers: dict.fromkeys(numbers, ""))


def test_whole_groups_have_nothing_in_common_and_what_parted_ones_have_is_counted() -> None:
    groups, keys, labels, fractions = samples(300, group_size=3)
    whole = assign_by_fractions(groups, keys, labels, fractions, CLASSES, SplitSettings())
    owners, links = np.arange(300), groups.astype(np.uint64)
    assert find_leak(owners, links, whole) == Leak(0, 100, 0, int((whole > 0).sum()))
    parted = np.array([0, 2, 2, 0, 0, 0, 1, 1, -1, 0, -1, -1], np.int8)
    assert find_leak(owners[:12], links[:12], parted) == Leak(links=1, of_links=4, samples=2, of_samples=4)


def test_a_group_in_two_splits_is_an_error_that_names_two_samples() -> None:
    groups, splits = np.array([0, 1, 1, 3]), np.array([0, 0, 2, 1], np.int8)
    with pytest.raises(SplitError, match="b is in 'train' and c in 'test'"):
        require_no_overlap(groups, splits, lambda numbers: {number: "abcd"[number] for number in numbers})
    splits[2] = -1  # in none
    require_no_overlap(groups, splits, lambda numbers: {})


def test_only_splits_that_have_samples_need_both_classes() -> None:
    require_classes(np.array([0, 0, 2, 2, -1], np.int8), np.array([0, 1, 0, 1, 1], np.int8), CLASSES)
    with pytest.raises(SplitError, match="split 'test' has no authentic sample"):
        require_classes(np.array([0, 0, 2, 2], np.int8), np.array([0, 1, 1, 1], np.int8), CLASSES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fractions": {"train": 0.8, "val": 0.1}},
        {"fractions": {"train": 1.5, "val": -0.5}},
        {"fractions": {"training": 1.0}},
        {"all": "exam"},
        {"file": "x.csv", "all": "test"},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        validate(SplitSettings, wrong, "recipe")
