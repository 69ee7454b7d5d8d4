"""Assigning samples to train, val and test so that no group is in two of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.errors import VeriframeError
from core.settings import Settings
from data.index import SPLITS
from data.labels import is_manipulated

SplitName = Literal["train", "val", "test"]
SplitUnit = Literal["component", "medium"]

# Forged pixels / pixels; a forgery's size decides how hard it is, so each split gets its share of every band.
AREA_BANDS = (0.01, 0.05)
_BANDS = 1 + len(AREA_BANDS)


class SplitError(VeriframeError):
    """Samples cannot be split as asked; the message names the group or the class."""


class SplitSettings(Settings):
    """How samples are split: by seeded fractions of each stratum, by an official file, or all into one split.

    Where neither a file nor ``all`` is given and the data set brings splits of its own, these count unless
    ``official`` is false; what they do not name is divided among the other splits by ``fractions``.
    """

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides which groups come into which split."""
    fractions: dict[SplitName, float] = Field(default={"train": 0.8, "val": 0.1, "test": 0.1})
    """Share of the samples by split, of the sum 1; one that is not named gets none."""
    file: str | None = None
    """A CSV or JSON file of names and splits (see ``data.official_splits``): URI, path, or key in the source."""
    all: SplitName | None = None
    """The split of all samples: for a set that serves one purpose, such as an external test set. It may lack a
    class."""
    official: bool = True
    """Whether splits that the data set brings count."""
    unit: SplitUnit = "component"
    """What is never parted. ``component``: all that is connected by a source, a target or an identity, so that nobody
    is both trained on and judged. ``medium``: one clip or picture with its copies, so that **the same people lie on
    both sides**: so figures on Celeb-DF's official list are reported, which joins nearly all of its identities. The
    report says how many they are."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (
            any(not 0 <= value <= 1 for value in self.fractions.values())
            or abs(sum(self.fractions.values()) - 1) > 1e-6
        ):
            raise ValueError(f"fractions must lie in 0..1 and sum to 1, got {self.fractions}")
        if self.file is not None and self.all is not None:
            raise ValueError("give either file or all, not both")
        return self


@dataclass(frozen=True)
class Leak:
    """What of the links between samples, such as identities, lies in several splits.

    Attributes:
        links: how many do.
        of_links: how many there are in any split.
        samples: samples of val and test that carry one that does.
        of_samples: samples of val and test.
    """

    links: int
    of_links: int
    samples: int
    of_samples: int


NO_LEAK = Leak(0, 0, 0, 0)


def find_leak(link_owner: NDArray[np.int64], link: NDArray[np.uint64], splits: NDArray[np.int8]) -> Leak:
    """Find the links that lie in several splits.

    Args:
        link_owner: sample of each link.
        link: hashed links, equal where they connect.
        splits: position in ``data.index.SPLITS`` of every sample; negative where it is in none.
    """
    inside = splits[link_owner] >= 0
    owners, (links, number) = link_owner[inside], np.unique(link[inside], return_inverse=True)
    present = np.zeros((len(links), len(SPLITS)), np.bool_)
    present[number, splits[owners]] = True
    several = present.sum(axis=1) > 1
    judged = splits > SPLITS.index("train")
    seen = np.unique(owners[several[number] & judged[owners]])
    return Leak(int(several.sum()), len(links), len(seen), int(judged.sum()))


def assign_by_fractions(
    groups: NDArray[np.int64],
    keys: NDArray[np.uint64],
    labels: NDArray[np.int8],
    forged_fractions: NDArray[np.float64],
    classes: Sequence[str],
    settings: SplitSettings,
) -> NDArray[np.int8]:
    """Assign whole groups so that every split gets its fraction of every stratum.

    Large groups come first, equal ones in an order that depends on the seed and their keys alone. Each goes where
    it brings the counts of its strata closest to their targets. A split that still lacks a class takes the smallest
    group that another can spare.

    Args:
        groups: the group of each sample, as the number of one of its samples.
        keys: a hash of each sample's name; that of the sample a group is numbered by decides the group's place.
        labels: the class of each sample.
        forged_fractions: forged pixels / pixels, 0..1.
        classes: names of the labels 0, 1 and so on.
        settings: seed and fractions.

    Returns:
        int8 per sample: position in ``data.index.SPLITS``.

    Raises:
        SplitError: when a split would have no sample of some class; both are named.
    """
    roots, group_of = np.unique(groups, return_inverse=True)
    # The strata: what is authentic, and of every other class its bands.
    stratum = np.where(
        is_manipulated(labels),
        1 + _BANDS * (labels.astype(np.int64) - 1) + np.digitize(forged_fractions, AREA_BANDS),
        0,
    )
    counts = _counted(group_of, stratum, (len(roots), 1 + _BANDS * (len(classes) - 1)))
    active = [number for number, name in enumerate(SPLITS) if settings.fractions.get(name, 0) > 0]  # type: ignore[call-overload]
    shares = np.array([settings.fractions[SPLITS[number]] for number in active])  # type: ignore[index]
    order = np.lexsort((_mix(keys[roots], settings.seed), -counts.sum(axis=1)))
    chosen = _greedy(counts, order, shares)
    per_class = _counted(group_of, labels, (len(roots), len(classes)))
    _fill_empty(chosen, per_class, order, len(active))
    _require_classes(chosen, per_class, [SPLITS[number] for number in active], classes)
    return np.array(active, np.int8)[chosen[group_of]]


def assign_beside_official(
    groups: NDArray[np.int64],
    keys: NDArray[np.uint64],
    labels: NDArray[np.int8],
    forged_fractions: NDArray[np.float64],
    official: NDArray[np.int8],
    classes: Sequence[str],
    settings: SplitSettings,
) -> NDArray[np.int8]:
    """Keep the splits that a data set brings, and divide what they do not name among the other splits.

    A group that an official split holds a part of is not divided: the rest of it is left out, or a network would be
    trained on people it is judged on.

    Args:
        groups: as for ``assign_by_fractions``, and so are all but ``official``.
        keys: see there.
        labels: see there.
        forged_fractions: see there.
        official: position in ``data.index.SPLITS``; -1 where the data set has none for a sample.
        classes: see there.
        settings: see there.

    Returns:
        int8 per sample: position in ``data.index.SPLITS``, -1 where it is left out.

    Raises:
        SplitError: when a split would have no sample of some class.
    """
    splits = official.copy()
    free = (official < 0) & ~np.isin(groups, np.unique(groups[official >= 0]))
    named = {SPLITS[number] for number in np.unique(official[official >= 0])}
    shares = {name: share for name, share in settings.fractions.items() if name not in named and share > 0}
    if free.any() and shares:
        total = sum(shares.values())
        rest = settings.model_copy(update={"fractions": {name: share / total for name, share in shares.items()}})
        numbers = np.flatnonzero(free)
        _, first, inverse = np.unique(groups[free], return_index=True, return_inverse=True)
        own = first[inverse].astype(np.int64)  # groups are numbered by samples: these by those of the rest
        splits[free] = assign_by_fractions(
            own, keys[numbers], labels[numbers], forged_fractions[numbers], classes, rest
        )
    return splits


def _counted(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return how often each pair of row and column occurs, int64 of ``shape``."""
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def _greedy(counts: NDArray[np.int64], order: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    totals = counts.sum(axis=0)
    weights = [1 / max(1, int(total)) ** 2 for total in totals]
    # missing[s][k]: how many samples of stratum k split s still lacks; plain lists, for this runs once a group.
    missing = [[float(share * total) for total in totals] for share in shares]
    chosen = np.zeros(len(counts), np.int64)
    for position in order:
        group = counts[position].tolist()
        held = [k for k, number in enumerate(group) if number]
        best = min(
            range(len(missing)),
            key=lambda s: sum(weights[k] * group[k] * (group[k] - 2 * missing[s][k]) for k in held),
        )
        for k in held:
            missing[best][k] -= group[k]
        chosen[position] = best
    return chosen


def _fill_empty(chosen: NDArray[np.int64], per_class: NDArray[np.int64], order: NDArray[np.int64], splits: int) -> None:
    """Give each split that lacks a class the smallest group of that class whose split keeps some of every class."""
    for split in range(splits):
        for kind in range(per_class.shape[1]):
            held = np.stack([per_class[chosen == s].sum(axis=0) for s in range(splits)])
            if held[split, kind]:
                continue
            for position in order[::-1]:
                left = held[chosen[position]] - per_class[position]
                if per_class[position, kind] and (left[per_class[position] > 0] > 0).all():
                    chosen[position] = split
                    break


def _require_classes(
    chosen: NDArray[np.int64], per_class: NDArray[np.int64], names: Sequence[str], classes: Sequence[str]
) -> None:
    for split, name in enumerate(names):
        for kind, label in enumerate(classes):
            if per_class[chosen == split, kind].sum():
                continue
            having = per_class[:, kind] > 0
            raise SplitError(
                f"split {name!r} has no {label} sample: the data set has {int(per_class[:, kind].sum())} in "
                f"{int(having.sum())} group(s), the largest group of all holds {int(per_class.sum(axis=1).max())} of "
                f"{int(per_class.sum())} samples. Add {label} samples from other sources, leave the split out of "
                "splits.fractions, or, for a set that serves one purpose, set splits.all. Where identities join nearly "
                "all of a data set, splits.unit = medium divides it all the same, with the same people on both sides"
            )


def _mix(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Shuffle by the seed: the SplitMix64 finaliser (Steele et al. 2014) over key and seed."""
    mixed = keys + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)


def require_no_overlap(
    groups: NDArray[np.int64], splits: NDArray[np.int8], names: Callable[[list[int]], Mapping[int, str]]
) -> None:
    """Check that no group lies in two splits.

    Args:
        groups: the group of each sample, as the number of one of its samples.
        splits: position in ``data.index.SPLITS``; negative where a sample is in none.
        names: returns the names of samples, for the message.

    Raises:
        SplitError: naming two samples of one group in different splits.
    """
    inside = np.flatnonzero(splits >= 0)
    lowest = np.full(len(groups), len(SPLITS), np.int8)
    np.minimum.at(lowest, groups[inside], splits[inside])
    wrong = inside[splits[inside] != lowest[groups[inside]]]
    if not len(wrong):
        return
    second = int(wrong[0])
    first = int(inside[(groups[inside] == groups[second]) & (splits[inside] == lowest[groups[second]])][0])
    found = names([first, second])
    count = len(np.unique(groups[wrong]))
    raise SplitError(
        f"{count} group(s) lie in two splits, which would let a model be judged on what it was trained on. For one, "
        f"{found[first]} is in {SPLITS[splits[first]]!r} and {found[second]} in {SPLITS[splits[second]]!r}. Put both "
        "into one split, or lower near_duplicates.distance if they only look alike"
    )


def require_classes(splits: NDArray[np.int8], labels: NDArray[np.int8], classes: Sequence[str]) -> None:
    """Check that every split that has samples has some of each class.

    Args:
        splits: position in ``data.index.SPLITS``; negative where a sample is in none.
        labels: the class of each sample.
        classes: names of the labels 0, 1 and so on.

    Raises:
        SplitError: naming split and class.
    """
    present = [number for number in range(len(SPLITS)) if (splits == number).any()]
    inside = splits >= 0
    per_class = np.eye(len(classes), dtype=np.int64)[labels[inside]]
    positions = np.searchsorted(np.array(present), splits[inside]).astype(np.int64)
    _require_classes(positions, per_class, [SPLITS[number] for number in present], classes)
