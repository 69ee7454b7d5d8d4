import math

import pytest
import torch
from torch import nn

from components.train.optimization import Schedule, build_optimizer, freeze, set_training
from components.train.recipe import OptimizerSettings, ScheduleSettings
from core.errors import SettingsError

LR = 0.1


def _network() -> nn.Module:
    network = nn.Sequential()
    network.add_module("encoder", nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    network.add_module("head", nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    return network


def _rates(settings: ScheduleSettings, *, epochs: int, steps: int, metrics: list[float] | None = None) -> list[float]:
    """Return the rate of every optimizer step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = Schedule(optimizer, settings, epochs=epochs, steps=steps, lr=LR, mode="max")
    rates, done = [], 0
    for epoch in range(epochs):
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            done += 1
            schedule.after_step(done)
        schedule.after_epoch(epoch + 1, done, metrics[epoch] if metrics else 0.0)
    return rates


def test_cosine_by_epochs_is_the_published_curve():
    rates = _rates(ScheduleSettings(name="cosine", min_lr=0.01), epochs=5, steps=2)
    expected = [0.01 + (LR - 0.01) * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(5) for _ in range(2)]
    assert rates == pytest.approx(expected)


def test_cosine_by_steps_moves_every_step():
    rates = _rates(ScheduleSettings(name="cosine", interval="step"), epochs=2, steps=5)
    assert rates == pytest.approx([LR * (1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)])


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_warm_up_by_steps_rises_to_the_full_rate(name):
    settings = ScheduleSettings(name=name, interval="step", warmup_epochs=1, warmup_factor=0.2)
    rates = _rates(settings, epochs=2, steps=4, metrics=[1.0, 2.0])
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.1])


def test_warm_up_by_epochs_precedes_the_cosine():
    settings = ScheduleSettings(name="cosine", warmup_epochs=2, warmup_factor=0.5)
    rates = _rates(settings, epochs=4, steps=1)
    assert rates == pytest.approx(
        [0.05, 0.075, LR * (1 + math.cos(math.pi * 2 / 4)) / 2, LR * (1 + math.cos(math.pi * 3 / 4)) / 2]
    )


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_plateau_lowers_the_rate_after_patience(interval):
    settings = ScheduleSettings(name="plateau", interval=interval, patience=1, factor=0.5, min_lr=0.03)
    rates = _rates(settings, epochs=8, steps=2, metrics=[0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])
    assert rates[::2] == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03])
    assert rates[1::2] == rates[::2]


def test_a_plateau_goes_on_from_its_state():
    settings = ScheduleSettings(name="plateau", patience=1, factor=0.5)

    def make():
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)
        return optimizer, Schedule(optimizer, settings, epochs=9, steps=1, lr=LR, mode="max")

    optimizer, schedule = make()
    schedule.after_epoch(1, 1, 0.5)
    schedule.after_epoch(2, 2, 0.5)
    resumed_optimizer, resumed = make()
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for one in (schedule, resumed):
        one.after_epoch(3, 3, 0.5)
    assert optimizer.param_groups[0]["lr"] == resumed_optimizer.param_groups[0]["lr"] == LR / 2


def test_frozen_parameters_stay_while_the_others_move():
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    freeze(network, ["encoder.*"])
    optimizer = build_optimizer(network, OptimizerSettings(lr=0.1))
    set_training(network)
    network(torch.rand(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(name.startswith("head.") for name in changed)
    assert {"head.0.weight", "head.1.running_mean"} <= changed


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(SettingsError, match=r"freeze = 'encodr\.\*' matches no parameter; names look like encoder"):
        freeze(_network(), ["encodr.*"])


def test_freezing_everything_is_an_error():
    with pytest.raises(SettingsError, match="leaves no parameter to train"):
        freeze(_network(), ["*"])


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_has_the_recipes_rate_and_decay(name, kind):
    optimizer = build_optimizer(_network(), OptimizerSettings(name=name, lr=0.5, weight_decay=0.25))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


def test_the_published_plateau_halves_the_rate_of_a_falling_loss_down_to_its_floor():
    settings = ScheduleSettings(name="plateau", factor=0.5, patience=5, min_lr=1e-7)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = Schedule(optimizer, settings, epochs=100, steps=1, lr=1e-4, mode="min")
    rates = []
    for epoch in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.after_epoch(epoch + 1, epoch + 1, max(1.0 - 0.1 * epoch, 0.5))
    # The loss falls for six epochs; six more without an improvement exceed the patience each time.
    expected = [max(1e-4 * 0.5 ** max((epoch - 6) // 6, 0), 1e-7) for epoch in range(100)]
    assert rates == pytest.approx(expected, rel=1e-6)
