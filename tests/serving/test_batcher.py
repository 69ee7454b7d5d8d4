import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bundle.analyzers import Item, Outputs
from bundle.runtimes import Run
from serving.batcher import Batcher, Job, Lane, NetworkName, stack_items

Batch = Mapping[str, NDArray[Any]]
A, B = NetworkName("a"), NetworkName("b")


def tiles(*values: int) -> list[Item]:
    return [{"tiles": np.full((3, 4, 4), value, dtype=np.uint8)} for value in values]


def echo(inputs: Batch, plus: float = 0.0) -> Outputs:
    """Logits [B, 1, 4, 4] and vectors [B, 2] that show which tile they are of."""
    logits = inputs["tiles"][:, :1].astype(np.float32) + np.float32(plus)
    return {"logits": logits, "vectors": -logits[:, 0, 0, :2]}


class Gate:
    """A network that waits to be let through, and remembers its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, inputs: Batch) -> Outputs:
        self.batches.append(inputs["tiles"][:, 0, 0, 0].tolist())
        self.entered.set()
        assert self.open.wait(10)
        return echo(inputs)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def batcher(run: Run, max_batch: int = 4, delay: float = 0.0) -> Batcher:
    return Batcher({A: Lane(run, max_batch, delay)})


@given(
    counts=st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 9)), min_size=1, max_size=12),
    max_batch=st.integers(1, 5),
    delay=st.sampled_from([0.0, 0.001]),
    passes=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_every_tile_gets_its_own_outputs_in_order_and_no_batch_is_too_large(
    counts: list[tuple[NetworkName, int]], max_batch: int, delay: float, passes: int
) -> None:
    seen: list[tuple[NetworkName, int]] = []
    shared = Batcher(
        {A: Lane(echo, max_batch, delay), B: Lane(lambda inputs: echo(inputs, 0.5), max_batch, delay)},
        passes=passes,
        observe=lambda name, size, _: seen.append((name, size)),
    )
    jobs = []
    for number, (member, count) in enumerate(counts):
        values = [(number * 16 + tile) % 256 for tile in range(count)]
        jobs.append((member, values, shared.submit(member, tiles(*values))))
    for member, values, job in jobs:
        outputs = job.future.result(10)
        assert outputs["logits"].shape == (len(values), 1, 4, 4)
        expected = [value + (0.5 if member == B else 0) for value in values]
        assert outputs["logits"][:, 0, 0, 0].tolist() == expected
        assert outputs["vectors"].tolist() == [[-value, -value] for value in expected]
        assert job.seconds > 0
    shared.stop()
    assert max(size for _, size in seen) <= max_batch
    for name in (A, B):
        assert sum(size for member, size in seen if member == name) == sum(n for member, n in counts if member == name)


def test_items_of_several_inputs_are_stacked_name_by_name() -> None:
    seen: list[dict[str, tuple[tuple[int, ...], str]]] = []

    def network(inputs: Batch) -> Outputs:
        seen.append({name: (array.shape, str(array.dtype)) for name, array in inputs.items()})
        logits = inputs["tiles"][:, 0, 0, 0] * inputs["tiles_present"] + inputs["lengths"]
        return {"logits": logits.astype(np.float32)[:, None]}

    items: list[Item] = [
        {"tiles": tile["tiles"], "tiles_present": np.array(present), "lengths": np.array(length, dtype=np.int64)}
        for tile, present, length in zip(tiles(1, 2, 3), (True, False, True), (10, 20, 30), strict=True)
    ]
    shared = batcher(network)
    assert shared.submit(A, items).future.result(10)["logits"].tolist() == [[11], [20], [33]]
    shared.stop()
    assert seen == [{"tiles": ((3, 3, 4, 4), "uint8"), "tiles_present": ((3,), "bool"), "lengths": ((3,), "int64")}]


def test_a_batch_is_contiguous_whatever_its_items_are_views_of() -> None:
    picture = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    items = [{"tiles": picture[:4, start : start + 4].transpose(2, 0, 1)} for start in (0, 4)]
    stacked = stack_items(items)["tiles"]
    assert stacked.flags.c_contiguous
    np.testing.assert_array_equal(stacked[1], items[1]["tiles"])


def test_tiles_of_several_requests_share_a_forward_pass(gate: Gate) -> None:
    shared = batcher(gate)
    first = shared.submit(A, tiles(1))
    assert gate.entered.wait(10)
    others = [shared.submit(A, tiles(2, 3)), shared.submit(A, tiles(4))]
    gate.open.set()
    for job in (first, *others):
        job.future.result(10)
    assert gate.batches == [[1], [2, 3, 4]]


def test_a_small_picture_does_not_wait_for_the_end_of_a_large_one(gate: Gate) -> None:
    shared = batcher(gate, max_batch=2)
    large = shared.submit(A, tiles(*range(10)))
    assert gate.entered.wait(10)
    small = shared.submit(A, tiles(99))
    gate.open.set()
    small.future.result(10)
    large.future.result(10)
    assert [99 in batch for batch in gate.batches].index(True) <= 2


def test_as_many_forward_passes_as_asked_for_run_at_one_time() -> None:
    together = threading.Barrier(2)

    def meet(inputs: Batch) -> Outputs:
        together.wait(10)  # raises when no second pass comes
        return echo(inputs)

    double = Batcher({A: Lane(meet, 1)}, passes=2)
    assert double.submit(A, tiles(1, 2)).future.result(10)["logits"][:, 0, 0, 0].tolist() == [1, 2]
    double.stop()
    assert not double.alive


def test_members_take_turns(gate: Gate) -> None:
    order: list[str] = []
    lanes = dict.fromkeys((A, B), Lane(gate, 1))
    both = Batcher(lanes, observe=lambda name, *_: order.append(name.member))
    jobs = [both.submit(name, tiles(1, 1, 1)) for name in (A, B)]
    gate.open.set()
    for job in jobs:
        job.future.result(10)
    both.stop()
    assert order in (list("ababab"), list("bababa"), list("aababb"))  # the second may come after the first pass


def test_an_incomplete_batch_waits_for_more_but_not_longer_than_allowed(gate: Gate) -> None:
    gate.open.set()
    patient = batcher(gate, delay=0.3)
    jobs = [patient.submit(A, tiles(1))]
    time.sleep(0.05)
    jobs.append(patient.submit(A, tiles(2)))
    for job in jobs:
        job.future.result(10)
    assert gate.batches == [[1, 2]]


def test_a_full_batch_does_not_wait(gate: Gate) -> None:
    gate.open.set()
    patient = batcher(gate, max_batch=2, delay=30.0)
    patient.submit(A, tiles(1, 2)).future.result(10)
    assert gate.batches == [[1, 2]]


def test_what_is_cancelled_is_not_run(gate: Gate) -> None:
    shared = batcher(gate, max_batch=2)
    first = shared.submit(A, tiles(1))
    assert gate.entered.wait(10)
    given_up, kept = shared.submit(A, tiles(2, 3, 4)), shared.submit(A, tiles(5))
    assert shared.waiting == 4
    assert given_up.future.cancel()
    assert shared.waiting == 1
    gate.open.set()
    first.future.result(10)
    kept.future.result(10)
    assert gate.batches == [[1], [5]]


def test_a_failure_concerns_the_requests_of_its_batch_and_no_others() -> None:
    def fragile(inputs: Batch) -> Outputs:
        if (inputs["tiles"] == 13).any():
            raise ValueError("unlucky")
        return echo(inputs)

    shared = batcher(fragile, max_batch=1)
    bad, good = shared.submit(A, tiles(1, 13, 2)), shared.submit(A, tiles(3))
    with pytest.raises(ValueError, match="unlucky"):
        bad.future.result(10)
    assert good.future.result(10)["logits"][0, 0, 0, 0] == 3
    assert shared.submit(A, tiles(4)).future.result(10)["logits"][0, 0, 0, 0] == 4
    assert shared.alive
    assert shared.failures == 0  # counted one after another, and the last passes were fine


def test_outputs_that_cannot_be_handed_over_concern_their_job_alone() -> None:
    def growing(inputs: Batch) -> Outputs:
        """Answer with wider rows from batch to batch, which the second half of a job cannot join."""
        widths.append(len(widths) + 1)
        return {"logits": np.zeros((len(inputs["tiles"]), widths[-1]), dtype=np.float32)}

    widths: list[int] = []
    shared = batcher(growing, max_batch=2)
    jobs = [shared.submit(A, tiles(*range(count))) for count in (3, 1, 1)]
    with pytest.raises(ValueError, match="broadcast"):
        jobs[0].future.result(10)
    assert [job.future.result(10)["logits"].shape[0] for job in jobs[1:]] == [1, 1]
    assert shared.alive
    shared.stop()


def test_an_exception_while_a_job_is_completed_leaves_the_threads_running(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Job.put

    def fragile(job: Job, *given: Any) -> None:
        if job is bad:
            raise MemoryError("no room for the outputs")
        put(job, *given)

    gate = Gate()
    shared = batcher(gate, max_batch=4)
    first = shared.submit(A, tiles(0))
    assert gate.entered.wait(10)
    bad, good = shared.submit(A, tiles(1)), shared.submit(A, tiles(2))
    monkeypatch.setattr(Job, "put", fragile)
    gate.open.set()
    with pytest.raises(MemoryError, match="no room"):
        bad.future.result(10)
    for job in (first, good, shared.submit(A, tiles(3))):
        job.future.result(10)
    assert shared.alive
    shared.stop()
    assert gate.batches == [[0], [1, 2], [3]]


def test_an_exception_while_a_pass_is_counted_leaves_the_threads_running() -> None:
    def refuse(name: NetworkName, size: int, seconds: float) -> None:
        if size == 2:
            raise KeyError("no such label")

    shared = Batcher({A: Lane(echo, 4)}, observe=refuse)
    with pytest.raises(KeyError, match="no such label"):
        shared.submit(A, tiles(1, 2)).future.result(10)
    assert shared.submit(A, tiles(3)).future.result(10)["logits"].shape[0] == 1
    assert shared.alive
    shared.stop()


def test_a_network_that_answers_for_another_number_of_items_is_an_error() -> None:
    one_row = batcher(lambda inputs: {"logits": np.zeros((1, 1), dtype=np.float32)})
    with pytest.raises(ValueError, match=r"a\.model gave 1 rows of logits for 3 items"):
        one_row.submit(A, tiles(1, 2, 3)).future.result(10)
    assert one_row.submit(A, tiles(1)).future.result(10)["logits"].tolist() == [[0]]
    one_row.stop()


def test_each_network_has_a_batch_limit_and_a_duration_of_its_own(gate: Gate) -> None:
    def slow(inputs: Batch) -> Outputs:
        time.sleep(0.2)
        return echo(inputs)

    sizes: list[tuple[str, int]] = []
    clips = NetworkName("a", "clip")
    shared = Batcher(
        {A: Lane(gate, 1), clips: Lane(slow, 8)}, observe=lambda name, size, _: sizes.append((name.network, size))
    )
    shared.submit(clips, tiles(0)).future.result(10)
    first = shared.submit(A, tiles(1))
    assert gate.entered.wait(10)
    others = [shared.submit(A, tiles(2, 3)), shared.submit(clips, tiles(4, 5)), shared.submit(clips, tiles(6))]
    assert shared.backlog_seconds >= 3 * 0.2  # three clips; how long a tile takes is not known yet
    gate.open.set()
    for job in (first, *others):
        job.future.result(10)
    shared.stop()
    assert sorted(sizes[1:]) == [("clip", 3), ("model", 1), ("model", 1), ("model", 1)]


def test_failures_one_after_another_are_counted() -> None:
    def broken(inputs: Batch) -> Outputs:
        raise RuntimeError("CUDA error")

    shared = batcher(broken)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="CUDA"):
            shared.submit(A, tiles(1)).future.result(10)
    assert shared.failures == 3


def test_stopping_finishes_what_is_queued_and_takes_nothing_more(gate: Gate) -> None:
    shared = batcher(gate, max_batch=1)
    jobs = [shared.submit(A, tiles(value)) for value in (1, 2, 3)]
    gate.open.set()
    shared.stop()
    assert [job.future.result(0)["logits"][0, 0, 0, 0] for job in jobs] == [1, 2, 3]
    assert not shared.alive
    with pytest.raises(RuntimeError, match="stopped"):
        shared.submit(A, tiles(4))


def test_the_backlog_is_the_waiting_tiles_times_their_mean_duration(gate: Gate) -> None:
    def slow(inputs: Batch) -> Outputs:
        time.sleep(0.02 * len(inputs["tiles"]))
        return gate(inputs)

    shared = batcher(slow, max_batch=2)
    assert shared.backlog_seconds == 0
    gate.open.set()
    shared.submit(A, tiles(1, 2)).future.result(10)
    gate.open.clear()
    gate.entered.clear()
    shared.submit(A, tiles(1))
    assert gate.entered.wait(10)
    shared.submit(A, tiles(*range(10)))
    assert 10 * 0.02 <= shared.backlog_seconds < 10


def test_a_request_that_is_alone_gets_all_threads_and_one_in_company_does_not(gate: Gate) -> None:
    used: list[str] = []

    def narrow(inputs: Batch) -> Outputs:
        used.append("narrow")
        return gate(inputs)

    def wide(inputs: Batch) -> Outputs:
        used.append("wide")
        return gate(inputs)

    shared = Batcher({A: Lane(narrow, 1, alone=wide)}, passes=2)
    first = shared.submit(A, tiles(1))
    assert gate.entered.wait(10)
    second = shared.submit(A, tiles(2))  # beside the first
    while shared.waiting:
        time.sleep(0.001)
    gate.open.set()
    for job in (first, second):
        job.future.result(10)
    assert used == ["wide", "narrow"]
    shared.submit(A, tiles(3, 4)).future.result(10)  # a large picture is company to itself
    assert used[2:] in (["narrow", "narrow"], ["narrow", "wide"])
    shared.stop()


def test_members_that_are_asked_at_the_same_moment_are_not_alone(gate: Gate) -> None:
    used: list[str] = []

    def named(name: str) -> Run:
        def run(inputs: Batch) -> Outputs:
            used.append(name)
            return gate(inputs)

        return run

    lanes = {name: Lane(named("narrow"), 1, alone=named("wide")) for name in (A, B)}
    both = Batcher(lanes, passes=2)
    jobs = both.submit_all({A: tiles(1), B: tiles(2)})
    assert gate.entered.wait(10)
    gate.open.set()
    for job in jobs.values():
        job.future.result(10)
    assert used[0] == "narrow"
    both.stop()
