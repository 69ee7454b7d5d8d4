"""The loop on a network of a few numbers, where what it should do can be computed beside it."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.train.distributed import Processes
from components.train.errors import DeviceMemoryError, NonFiniteLossError
from components.train.log import EpochLog
from components.train.loop import Parts, Trainer
from components.train.recipe import TrainRecipe
from components.train.sampling import EpochBatches
from components.train.state import RunState
from components.train.termination import Termination
from core.settings import validate
from models.checkpoint import Checkpoint, read_checkpoint

SAMPLES = 8


class SquaredError(nn.Module):
    def forward(self, output: Tensor, batch: dict) -> dict[str, Tensor]:
        loss = (output - batch["mask"]).square().mean()
        return {"loss": loss, "halved": loss / 2}


class Data:
    """A loader over fixed random pictures: one epoch's samples are those of the batch sampler."""

    def __init__(self, batches: EpochBatches) -> None:
        self.batches = batches
        chance = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (SAMPLES, 3, 4, 4), generator=chance, dtype=torch.uint8)
        self.masks = torch.randint(0, 2, (SAMPLES, 1, 4, 4), generator=chance, dtype=torch.uint8)

    def __iter__(self) -> Iterator[dict]:
        for pairs in self.batches:
            rows = [row for row, _ in pairs]
            yield {
                "views": {"tiles": self.images[rows]},
                "mask": self.masks[rows],
                "sample_id": [f"s{row}" for row in rows],
            }


class Scale(nn.Module):
    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: pixels.float() / 255 for name, pixels in views.items()}


class Tiny(nn.Sequential):
    """A network of one view."""

    def forward(self, views: dict[str, Tensor]) -> Tensor:
        """Run the layers on it."""
        return super().forward(views["tiles"])


def _network() -> nn.Module:
    torch.manual_seed(0)
    return Tiny(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.25), nn.Conv2d(4, 1, 1))


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a trainer; ``batches`` an epoch, ``metrics`` what validation will give."""

    def build(
        batches: int = 4, metrics: list[float] | None = None, network: nn.Module | None = None, **keys
    ) -> Trainer:
        given = {
            "member": "x",
            "family": "forgery",
            "policy": "forgery",
            "input": {"views": {"tiles": {}}},
            "monitor": {"metric": "f1"},
            "batch_size": 2,
            "epochs": 1,
            "device": "cpu",
            "checkpoint_every_steps": 1,
            **keys,
        }
        recipe = validate(TrainRecipe, given, "recipe")
        sampler = EpochBatches(np.ones(SAMPLES), seed=0, batch_size=recipe.batch_size, batches=batches)
        answers = iter(metrics or [0.5] * recipe.epochs)
        validated: list[dict] = []

        def validation(candidate: nn.Module) -> dict[str, float]:
            validated.append(copy.deepcopy(candidate.state_dict()))
            return {"f1": next(answers), "authentic_fpr": 0.0}

        parts = Parts(
            network=network or _network(),
            normalize=Scale(),
            criterion=SquaredError(),
            loader=Data(sampler),  # type: ignore[arg-type]
            batches=sampler,
            steps=batches // recipe.accumulate,
            validate=validation,
            describe=Checkpoint(epoch=0, model_state_dict={}),
        )
        processes = Processes(0, 1, torch.device("cpu"))
        state = RunState(str(tmp_path / "state"), recipe.name, recipe.keep_last)
        trainer = Trainer(recipe, parts, state, EpochLog(tmp_path / "log.jsonl"), processes, Termination())
        trainer.validated = validated  # type: ignore[attr-defined]
        return trainer

    return build


def _weights(trainer: Trainer) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.network.parameters()])


SGD = {"name": "sgd", "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}


def test_accumulated_batches_make_the_step_of_one_large_batch(make):
    small = make(batches=4, batch_size=2, accumulate=4, optimizer=SGD, network=_network().eval())
    large = make(batches=1, batch_size=8, accumulate=1, optimizer=SGD, network=_network().eval())
    before = _weights(small)
    assert torch.equal(before, _weights(large))
    for trainer in (small, large):
        trainer.network[2].p = 0.0
        trainer.run()
    assert not torch.allclose(_weights(small), before, atol=1e-3)
    torch.testing.assert_close(_weights(small), _weights(large), rtol=1e-5, atol=1e-6)
    assert small.log.lines[0]["train"] == pytest.approx(large.log.lines[0]["train"])
    assert small.log.lines[0]["train"]["halved"] == pytest.approx(small.log.lines[0]["train"]["loss"] / 2)


def test_clipping_bounds_the_gradient_of_a_step(make):
    free = make(batches=1, optimizer=SGD)
    clipped = make(batches=1, optimizer=SGD, clip_norm=0.01)
    before = _weights(free)
    for trainer in (free, clipped):
        trainer.run()
    assert (_weights(free) - before).norm() > 0.5 * 0.02
    assert (_weights(clipped) - before).norm() == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_what_full_precision_learns(make, precision):
    full, mixed = make(epochs=3), make(epochs=3, precision=precision)
    for trainer in (full, mixed):
        trainer.run()
    assert all(parameter.dtype == torch.float32 for parameter in mixed.network.parameters())
    assert not torch.equal(_weights(full), _weights(mixed))
    assert mixed.log.lines[-1]["train"]["loss"] == pytest.approx(full.log.lines[-1]["train"]["loss"], rel=0.05)


def test_averaged_weights_are_what_is_validated_and_kept(make):
    trainer = make(batches=8, ema_decay=0.9, optimizer=SGD)
    trainer.run()
    averaged = trainer.ema.module.state_dict()
    best = read_checkpoint(trainer.state._store.path("best/000001.pth")).model_state_dict
    for name, value in averaged.items():
        assert torch.equal(trainer.validated[-1][name], value)
        assert torch.equal(best[name], value)
        assert not torch.equal(trainer.network.state_dict()[name], value)


def test_early_stopping_ends_the_run_and_the_best_epochs_weights_are_kept(make):
    trainer = make(epochs=9, metrics=[0.1, 0.6, 0.5, 0.3, 0.9], early_stopping={"patience": 2})
    trainer.run()
    assert [line["best"] for line in trainer.log.lines] == [True, True, False, False]
    best = read_checkpoint(trainer.state._store.path("best/000002.pth"))
    assert best.epoch == 2
    assert best.metrics["f1"] == 0.6
    for name, value in trainer.validated[1].items():
        assert torch.equal(best.model_state_dict[name], value)
        assert not torch.equal(trainer.network.state_dict()[name], value)


def test_the_rate_of_each_epoch_is_logged(make):
    trainer = make(epochs=2, optimizer=SGD)
    trainer.run()
    assert [line["lr"] for line in trainer.log.lines] == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"ema_decay": 0.9, "accumulate": 2, "schedule": {"name": "plateau", "patience": 0}},
        {"precision": "fp16", "optimizer": {"name": "sgd", "lr": 0.1}, "schedule": {"interval": "step"}},
    ],
    ids=["plain", "averaged", "scaled"],
)
def test_a_start_from_any_step_checkpoint_reaches_the_same_bits(make, keys):
    keys = {"batches": 4, "epochs": 3, "metrics": [0.5, 0.4, 0.3], "keep_last": 100, **keys}
    undisturbed = make(**keys)
    undisturbed.run()
    steps = 3 * undisturbed.parts.steps
    folder = undisturbed.state._store.path("steps")
    assert len(list(folder.iterdir())) == steps
    kept = [read_checkpoint(folder / f"000000-{step:09d}.pth") for step in range(1, steps + 1)]
    for step, checkpoint in enumerate(kept, start=1):
        epochs_validated = len(checkpoint.metrics["history"])
        resumed = make(**{**keys, "metrics": keys["metrics"][epochs_validated:]})
        resumed.restore(checkpoint)
        assert resumed.done == step
        resumed.run()
        assert torch.equal(_weights(resumed), _weights(undisturbed))
        assert [line["train"] for line in resumed.log.lines] == [line["train"] for line in undisturbed.log.lines]
        assert [line["best"] for line in resumed.log.lines] == [line["best"] for line in undisturbed.log.lines]


def test_a_loss_that_is_not_finite_stops_the_run_before_anything_is_saved(make):
    trainer = make(batches=4, epochs=3, optimizer={**SGD, "lr": 1e20})
    with pytest.raises(NonFiniteLossError, match="the loss is not finite in epoch 1") as caught:
        trainer.run()
    assert len(caught.value.sample_ids) == 2
    latest = trainer.state.latest()
    assert latest is not None and latest.sampler_position["step"] < 4


class Exhausted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_running_out_of_memory_says_which_recipe_keys_to_lower(make):
    trainer = make(batch_size=4)
    trainer.model = Exhausted()
    with pytest.raises(DeviceMemoryError, match=r"batch_size \(now 4; .*input.views.tiles.size \(now 512\)"):
        trainer.run()


def test_running_out_of_memory_in_validation_names_the_key_of_validation(make):
    trainer = make()
    object.__setattr__(trainer.parts, "validate", Exhausted())
    with pytest.raises(DeviceMemoryError, match=r"validate_batch_size \(now 8"):
        trainer.run()


def test_a_compiled_network_keeps_the_names_of_its_weights(make, monkeypatch):
    calls = []
    compile_in_place = nn.Module.compile

    def compile_eagerly(self: nn.Module) -> None:
        calls.append(self)
        compile_in_place(self, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    plain = make()
    plain.run()
    compiled = make(compile=True)  # it draws the same random numbers: making a network seeds the generator
    compiled.run()
    assert calls == [compiled.network]
    assert list(compiled.network.state_dict()) == list(_network().state_dict())
    torch.testing.assert_close(_weights(compiled), _weights(plain))


class TwoViews(nn.Module):
    """A network of two views, one of which may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles, self.other = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 1)

    def forward(self, views: dict[str, Tensor]) -> Tensor:
        """Add what both say, where both are there."""
        return self.tiles(views["tiles"]) + self.other(views["other"]) * views["other_present"][:, None, None, None]


class Present(Scale):
    def forward(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Pass on what is no picture."""
        return {name: array if array.dtype == torch.bool else array.float() / 255 for name, array in views.items()}


@pytest.mark.parametrize("present", [True, False])
def test_a_network_of_several_views_learns_from_those_that_are_there(make, present):
    trainer = make(network=TwoViews(), optimizer=SGD)
    first = next(iter(trainer.parts.loader))
    images = first["views"]["tiles"]
    views = {"tiles": images, "other": images.flip(2), "other_present": torch.full((len(images),), present)}
    object.__setattr__(trainer.parts, "loader", [{**first, "views": views}])
    object.__setattr__(trainer.parts, "normalize", Present())
    before = copy.deepcopy(trainer.network.state_dict())
    trainer.run()
    assert not torch.equal(trainer.network.tiles.weight, before["tiles.weight"])
    assert torch.equal(trainer.network.other.bias, before["other.bias"]) != present
