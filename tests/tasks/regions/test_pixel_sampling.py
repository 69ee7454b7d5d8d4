from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInputError
from judging.guard import SplitLeakError
from tasks.regions.pixel_sampling import PixelSampler, draw_pixels


def row(number: int, split: str = "val") -> dict[str, str]:
    return {"sample_id": f"s{number}", "group_id": f"g{number}", "split": split}


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    share=st.floats(0, 1),
    count=st.integers(2, 300),
    seed=st.integers(0, 99),
)
def test_drawn_pixels_are_distinct_and_weigh_each_class_by_its_area(
    height: int, width: int, share: float, count: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((height, width)) < share
    where, weight = draw_pixels(mask, count, generator)
    assert len(where) == min(count, mask.size) == len(set(where))
    forged = mask.ravel()[where]
    assert weight[forged].sum() == pytest.approx(mask.mean(), abs=1e-9)
    assert weight.sum() == pytest.approx(1)


def test_a_small_forged_region_gets_half_of_the_sample_or_all_of_itself() -> None:
    mask = np.zeros((100, 100), bool)
    mask[:5, :5] = True
    where, _ = draw_pixels(mask, 40, np.random.default_rng(0))
    assert mask.ravel()[where].sum() == 20
    where, _ = draw_pixels(mask, 400, np.random.default_rng(0))
    assert mask.ravel()[where].sum() == 25


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_of_another_split_are_refused(split: str) -> None:
    sampler = PixelSampler(10, seed=0)
    with pytest.raises(SplitLeakError, match=f"1 of {split}"):
        sampler.add(row(0, split), np.zeros((4, 4), bool), {"a": np.zeros((4, 4), np.float32)})


@pytest.mark.parametrize(("value", "lacking"), [(False, "no forged pixels"), (True, "no authentic pixels")])
def test_a_sample_of_one_class_is_refused(value: bool, lacking: str) -> None:
    sampler = PixelSampler(10, seed=0)
    sampler.add(row(0), np.full((4, 4), value), {"a": np.zeros((4, 4), np.float32)})
    with pytest.raises(BadInputError, match=lacking):
        sampler.build()


def test_an_empty_val_split_is_refused() -> None:
    with pytest.raises(BadInputError, match="no forged pixels"):
        PixelSampler(10, seed=0).build()


def test_what_is_drawn_depends_on_seed_and_picture_but_not_on_the_order() -> None:
    generator = np.random.default_rng(0)
    pictures = [(row(n), generator.random((30, 30)) < 0.3, generator.random((30, 30), np.float32)) for n in range(4)]

    def draw(order: list[int], seed: int) -> list[list[float]]:
        sampler = PixelSampler(20, seed)
        for number in order:
            name, mask, logit = pictures[number]
            sampler.add(name, mask, {"a": logit})
        sample = sampler.build()
        parts = np.split(sample.logits["a"], len(order))
        return [parts[order.index(number)].tolist() for number in range(len(order))]

    assert draw([0, 1, 2, 3], 5) == draw([3, 1, 0, 2], 5)
    assert draw([0, 1, 2, 3], 5) != draw([0, 1, 2, 3], 6)
    assert all(a != b for a, b in pairwise(draw([0, 1, 2, 3], 5)))


def test_members_are_sampled_at_the_same_pixels_and_no_more_than_asked_for() -> None:
    mask = np.random.default_rng(1).random((200, 300)) < 0.2
    place = np.arange(mask.size, dtype=np.float32).reshape(mask.shape)
    sampler = PixelSampler(64, seed=0)
    sampler.add(row(0), mask, {"a": place, "b": -place})
    sample = sampler.build()
    assert len(sample.targets) == 64
    assert (sample.logits["a"] == -sample.logits["b"]).all()
    assert (mask.ravel()[sample.logits["a"].astype(int)] == sample.targets).all()


def test_pictures_of_one_group_are_never_in_both_halves() -> None:
    sampler = PixelSampler(8, seed=0)
    mask = np.eye(6, dtype=bool)
    for number in range(12):
        sampler.add(row(number) | {"group_id": f"g{number // 4}"}, mask, {"a": mask.astype(np.float32)})
    folds = np.split(sampler.build().folds, 3)
    assert all(len(set(fold.tolist())) == 1 for fold in folds)
