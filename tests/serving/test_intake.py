import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.analyzers import Category, RequestError
from serving.errors import headers_of, status_of
from serving.intake import Intake, PixelBudget


def test_places_are_taken_and_given_back() -> None:
    intake = Intake(2, 1000, lambda: 0.0)
    with intake.place(), intake.place():
        assert intake.in_flight == 2
        with pytest.raises(RequestError, match="2 requests"), intake.place():
            pass
        with pytest.raises(RequestError), intake.arriving(1):  # before the body is read
            pass
    assert intake.in_flight == 0
    with intake.arriving(1), intake.place():
        assert intake.in_flight == 1


@pytest.mark.parametrize(("backlog", "header"), [(0.0, "1"), (0.2, "1"), (3.4, "4"), (1e6, "60")])
def test_a_refusal_says_when_to_come_again(backlog: float, header: str) -> None:
    intake = Intake(1, 1000, lambda: backlog)
    with intake.place(), pytest.raises(RequestError) as refused, intake.place():
        pass
    assert (status_of(refused.value), refused.value.reason) == (429, "queue-full")
    assert headers_of(refused.value) == {"Retry-After": header}


def test_bodies_may_not_hold_more_bytes_together_than_allowed() -> None:
    intake = Intake(10, 1000, lambda: 0.0)
    with intake.arriving(600), intake.arriving(400):
        with pytest.raises(RequestError, match="bytes") as refused, intake.arriving(1):
            pass
        assert refused.value.category is Category.BUSY
    with intake.arriving(1000):
        pass


def test_a_request_that_fails_gives_its_place_and_bytes_back() -> None:
    intake = Intake(1, 10, lambda: 0.0)
    with pytest.raises(ValueError, match="broken"), intake.arriving(10), intake.place():
        raise ValueError("broken")
    with intake.arriving(10), intake.place():
        assert intake.in_flight == 1


@given(sizes=st.lists(st.integers(1, 150), min_size=1, max_size=30), total=st.integers(1, 100), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_pixels_stay_within_the_budget_and_all_get_their_turn_in_order(sizes: list[int], total: int, seed: int) -> None:
    held = 0
    admitted: list[int] = []
    chance = random.Random(seed)
    given_up = {number for number in range(len(sizes)) if chance.random() < 0.2}

    async def request(budget: PixelBudget, number: int) -> None:
        nonlocal held
        async with budget.hold(sizes[number]):
            admitted.append(number)
            held += min(sizes[number], total)
            assert held <= total
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                held -= min(sizes[number], total)

    async def everything() -> None:
        budget = PixelBudget(total)
        tasks = [asyncio.create_task(request(budget, number)) for number in range(len(sizes))]
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        for number in given_up:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()
        async with asyncio.timeout(5), budget.hold(total):  # everything was given back
            pass

    asyncio.run(everything())
    assert admitted == sorted(admitted)
    assert set(admitted) | given_up == set(range(len(sizes)))
