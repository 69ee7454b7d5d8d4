import math

import pytest
import torch

from components.train.errors import NonFiniteLossError
from components.train.meter import Meter, summarize


def _terms(loss: float, dice: float = 0.5) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(loss), "dice": torch.tensor(dice)}


def test_means_are_over_steps_and_processes_by_name():
    first, second = Meter(1), Meter(1)
    for meter, losses in ((first, (1.0, 2.0)), (second, (3.0, 6.0))):
        for loss in losses:
            meter.add(_terms(loss, loss / 2), ["a"], samples=8, lr=0.1)
        meter.read()
    summary = summarize([first.state_dict(), second.state_dict()])
    assert summary["train"] == {"loss": 3.0, "dice": 1.5}
    assert summary["samples"] == 16
    assert summary["lr"] == 0.1
    assert summary["samples_per_s"] == pytest.approx(16 / summary["seconds"])


def test_when_it_is_read_does_not_change_the_sums():
    values = torch.rand(50, generator=torch.Generator().manual_seed(0)).tolist()
    often, once = Meter(1), Meter(1)
    for value in values:
        for meter in (often, once):
            meter.add(_terms(value), ["a"], samples=1, lr=0.1)
        often.read()
    once.read()
    assert often.state_dict()["sums"] == once.state_dict()["sums"]


def test_it_goes_on_from_a_state():
    meter = Meter(1)
    meter.add(_terms(2.0), ["a"], samples=4, lr=0.1)
    meter.read()
    state = {**meter.state_dict(), "seconds": 100.0, "waited": 25.0}
    resumed = Meter(1)
    resumed.load_state_dict(state)
    resumed.add(_terms(4.0), ["b"], samples=4, lr=0.05)
    assert resumed.read() == 3.0
    summary = summarize([resumed.state_dict()])
    assert (summary["samples"], summary["lr"], summary["train"]["loss"]) == (8, 0.05, 3.0)
    assert 100 <= summary["seconds"] < 150
    assert summary["data_wait"] == pytest.approx(25 / summary["seconds"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_step_and_samples(bad):
    meter = Meter(3)
    meter.add(_terms(1.0), ["good-1", "good-2"], samples=2, lr=0.1)
    meter.add(_terms(bad), ["bad-1", "bad-2"], samples=2, lr=0.1)
    meter.add(_terms(math.nan), ["later-1"], samples=2, lr=0.1)
    with pytest.raises(NonFiniteLossError, match=r"epoch 3, step 2 .*dice 0.5.* bad-1, bad-2") as caught:
        meter.read()
    assert caught.value.sample_ids == ("bad-1", "bad-2")
