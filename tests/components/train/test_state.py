import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from components.train import state as state_module
from components.train.state import Manifest, RunState
from core.errors import MismatchError
from core.storage import open_store
from core.storage.lease import Lease, LeaseHeldError, LeaseLostError
from models.checkpoint import Checkpoint


def _checkpoint(value: float, epoch: int = 1) -> Checkpoint:
    return Checkpoint(epoch=epoch, model_state_dict={"weight": torch.full((3,), value)})


def _manifest(*, recipe=None, dataset="a" * 64, base="", threads=1) -> Manifest:
    return Manifest(
        recipe=recipe or {"optimizer": {"lr": 0.1}, "workers": 2},
        inputs={"dataset": dataset, "base": base, "hard_negatives": ""},
        places={"dataset": "/data/index", "base": "/models/x.pth" if base else "", "hard_negatives": ""},
        threads=threads,
    )


def _names(uri: str) -> list[str]:
    return [info.key for info in open_store(uri).list()]


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def place(request, tmp_path) -> str:
    return str(tmp_path / "state") if request.param == "folder" else request.getfixturevalue("bucket") + "/state"


def test_the_last_checkpoints_and_the_best_are_kept(place):
    state = RunState(place, "x_v3", keep_last=2)
    assert state.latest() is None
    for step in (1, 2, 9, 10, 11):
        state.save_step(step, _checkpoint(step), best_epoch=1 if step > 2 else None)
        if step == 2:
            state.save_best(_checkpoint(step))
    steps = [f"x_v3/steps/000000-{step:09d}.pth" for step in (10, 11)]
    assert _names(place) == ["x_v3/best/000001.pth", *steps]
    latest = RunState(place, "x_v3", keep_last=2).latest()
    assert latest is not None and latest.model_state_dict["weight"].tolist() == [11, 11, 11]


def test_an_earlier_best_is_kept_until_a_step_checkpoint_knows_of_the_later_one(place, tmp_path):
    state = RunState(place, "x_v3", keep_last=1)
    state.save_best(_checkpoint(1.0, epoch=1))
    state.save_step(10, _checkpoint(0.0), best_epoch=1)
    state.save_best(_checkpoint(2.0, epoch=2))  # a start from step 10 may come to another opinion of epoch 2
    state.fetch_best(1, tmp_path / "best.pth")
    assert torch.load(tmp_path / "best.pth", weights_only=True)["model_state_dict"]["weight"][0] == 1
    state.save_step(20, _checkpoint(0.0), best_epoch=2)
    assert [name for name in _names(place) if "best" in name] == ["x_v3/best/000002.pth"]


def test_a_finished_run_says_so_and_keeps_its_best_checkpoint_alone(place, tmp_path):
    state = RunState(place, "x_v3", keep_last=2)
    for step in (1, 2):
        state.save_step(step, _checkpoint(step))
    state.save_best(_checkpoint(4.0))
    assert state.finished() is None
    state.finish([{"epoch": 1}])
    state.discard_steps()
    assert _names(place) == ["x_v3/best/000001.pth", "x_v3/finished.json"]
    again = RunState(place, "x_v3", keep_last=1)
    assert again.finished() == [{"epoch": 1}]
    again.fetch_best(1, tmp_path / "best.pth")
    assert torch.load(tmp_path / "best.pth", weights_only=True)["model_state_dict"]["weight"][0] == 4


def _take_over(place: str) -> None:
    """Let another machine take the lease, as it does once that has expired."""
    store = open_store(f"{place}/x_v3")
    holder = json.loads(store.read("lease.json"))
    other = {"owner": "other", "host": "pod-2", "machine": "another", "fence": holder["fence"] + 1}
    store.write("lease.json", json.dumps({**holder, **other}).encode())


@pytest.mark.parametrize(
    "write",
    [
        lambda state: state.save_step(2, _checkpoint(2.0)),
        lambda state: state.save_best(_checkpoint(2.0)),
        lambda state: state.finish([]),
        lambda state: state.discard_steps(),
        lambda state: state.claim(_manifest()),
    ],
    ids=["save_step", "save_best", "finish", "discard_steps", "claim"],
)
def test_a_process_that_lost_the_state_to_another_changes_nothing_in_it(place, write):
    state = RunState(place, "x_v3", keep_last=1)
    with pytest.raises(LeaseLostError, match=r"taken over by process \d+ on pod-2"), state.held(print):
        state.save_step(1, _checkpoint(1.0))
        _take_over(place)
        before = _names(place)
        write(state)
    assert _names(place) == before


def test_what_an_earlier_holder_writes_late_is_not_what_a_later_start_goes_on_from(tmp_path):
    place = str(tmp_path)
    first, second = (RunState(place, "x_v3", keep_last=2) for _ in range(2))
    with first.held(print):
        first.save_step(10, _checkpoint(10.0))
    with second.held(print):
        second.save_step(20, _checkpoint(20.0))
        # It was suspended in the middle of this upload, and the other took over meanwhile.
        first._lease = SimpleNamespace(fence=1, check=lambda: None)
        first.save_step(30, _checkpoint(30.0))
        latest = second.latest()
        assert latest is not None and latest.model_state_dict["weight"][0] == 20
        second.save_step(25, _checkpoint(25.0))
    assert [name for name in _names(place) if "steps" in name] == [
        "x_v3/steps/000002-000000020.pth", "x_v3/steps/000002-000000025.pth",
    ]  # fmt: skip


def test_a_second_process_on_the_state_of_one_that_lives_is_refused(place, monkeypatch):
    monkeypatch.setattr(state_module, "Lease", partial(Lease, duration=12))
    first, second = (RunState(place, "x_v3", keep_last=1) for _ in range(2))
    messages: list[str] = []
    with first.held(print):
        with pytest.raises(LeaseHeldError, match="is in use by process"), second.held(messages.append):
            raise AssertionError("both held it")
        first.save_step(1, _checkpoint(1.0))
    assert len(messages) == 1
    with second.held(print):
        second.save_step(2, _checkpoint(2.0))


def test_runs_that_share_a_place_do_not_meet(tmp_path):
    first, second = (RunState(str(tmp_path), name, keep_last=1) for name in ("x_v3", "x_v4"))
    first.claim(_manifest())
    second.claim(_manifest(recipe={"optimizer": {"lr": 0.2}}))
    first.save_step(1, _checkpoint(1.0))
    assert second.latest() is None


def test_the_same_run_is_taken_up_again_also_with_other_harmless_keys(place):
    state = RunState(place, "x_v3", keep_last=1)
    assert state.claim(_manifest()) == ""
    assert state.claim(_manifest()) == ""
    harmless = {"workers": 8, "nodes": 2, "processes": 4}
    assert state.claim(_manifest(recipe={"optimizer": {"lr": 0.1}, **harmless})) == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipe": {"optimizer": {"lr": 0.2}}}, ["recipe key optimizer.lr: 0.1 there, 0.2 here"]),
        ({"dataset": "b" * 64}, ["dataset: /data/index (sha256 aaaaaaaaaaaa) there", "(sha256 bbbbbbbbbbbb) here"]),
        ({"base": "c" * 64}, ["base: none (sha256 ) there, /models/x.pth (sha256 cccccccccccc) here"]),
    ],
)
def test_a_run_started_differently_is_refused_naming_both_sides(tmp_path, changed, words):
    state = RunState(str(tmp_path), "x_v3", keep_last=1)
    state.claim(_manifest())
    with pytest.raises(MismatchError) as caught:
        state.claim(_manifest(**changed))
    for word in (*words, str(tmp_path / "x_v3"), "give another state"):
        assert word in str(caught.value)


def test_another_number_of_threads_is_a_warning(tmp_path):
    state = RunState(str(tmp_path), "x_v3", keep_last=1)
    state.claim(_manifest(threads=1))
    assert "began with 1 CPU thread(s) and goes on with 4" in state.claim(_manifest(threads=4))


def test_what_a_killed_process_left_half_written_is_neither_read_nor_kept(tmp_path):
    state = RunState(str(tmp_path), "x_v3", keep_last=2)
    state.claim(_manifest())
    state.save_step(1, _checkpoint(1.0))
    folder = tmp_path / "x_v3"
    left = [folder / "steps" / ".000000-000000002.pth.ab12cd34", folder / "best" / ".000001.pth.zz_0aa11"]
    (folder / "best").mkdir()
    for path in left:
        path.write_bytes(b"half")
    latest = state.latest()
    assert latest is not None and latest.model_state_dict["weight"][0] == 1
    state.claim(_manifest())
    assert not any(path.exists() for path in left)
    assert json.loads((folder / "run.json").read_text())["threads"] == 1


def test_a_fingerprint_is_equal_for_runs_that_may_go_on_from_each_other():
    first = _manifest()
    assert first.fingerprint == _manifest(recipe={"optimizer": {"lr": 0.1}, "workers": 7}, threads=4).fingerprint
    others = [_manifest(recipe={"optimizer": {"lr": 0.2}}), _manifest(dataset="b" * 64), _manifest(base="c" * 64)]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4
