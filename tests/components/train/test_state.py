import json

import pytest
import torch

from components.train.state import Manifest, RunState
from core.errors import MismatchError
from core.storage import open_store
from models.checkpoint import Checkpoint


def _checkpoint(value: float) -> Checkpoint:
    return Checkpoint(epoch=1, model_state_dict={"weight": torch.full((3,), value)})


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
        state.save_step(step, _checkpoint(step))
        if step == 2:
            state.save_best(_checkpoint(step))
    assert _names(place) == ["x_v3/best.pth", "x_v3/steps/000000010.pth", "x_v3/steps/000000011.pth"]
    latest = RunState(place, "x_v3", keep_last=2).latest()
    assert latest is not None and latest.model_state_dict["weight"].tolist() == [11, 11, 11]


def test_a_finished_run_says_so(place, tmp_path):
    state = RunState(place, "x_v3", keep_last=1)
    state.save_best(_checkpoint(4.0))
    assert state.finished() is None
    state.finish([{"epoch": 1}])
    again = RunState(place, "x_v3", keep_last=1)
    assert again.finished() == [{"epoch": 1}]
    again.fetch_best(tmp_path / "best.pth")
    assert torch.load(tmp_path / "best.pth", weights_only=True)["model_state_dict"]["weight"][0] == 4


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
    assert state.claim(_manifest(recipe={"optimizer": {"lr": 0.1}, "workers": 8})) == ""


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
    left = [folder / "steps" / ".000000002.pth.ab12cd34", folder / ".best.pth.zz_0aa11"]
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
