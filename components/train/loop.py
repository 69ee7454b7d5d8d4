"""The training loop."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from components.train.distributed import Processes
from components.train.environment import seed_generators
from components.train.log import EpochLog
from components.train.memory import naming_keys
from components.train.meter import Meter, combine, summarize
from components.train.monitor import Monitor
from components.train.optimization import Schedule, build_optimizer, freeze, set_training
from components.train.precision import Precision
from components.train.recipe import TrainRecipe
from components.train.sampling import EpochBatches
from components.train.state import RunState
from components.train.termination import EXIT_STATUS, Termination
from core.progress import counter
from models import randomness
from models.checkpoint import Checkpoint

Batch = Mapping[str, Any]
Validate = Callable[[nn.Module], Mapping[str, float] | None]


@dataclass(frozen=True)
class Parts:
    """What the loop trains, with what, on what.

    Attributes:
        network: on the device, with the weights to start from; normalised float32 views by name in.
        normalize: the views of a batch, uint8 by name, to the network's input, on the device.
        criterion: (output, batch) to named scalars, of which ``loss`` is minimised.
        loader: batches of the dataset, drawn by ``batches``.
        batches: which samples an epoch sees.
        steps: optimizer steps an epoch.
        validate: a network in, metrics out in the main process; all call it together.
        describe: what every checkpoint of the run says of itself.
    """

    network: nn.Module
    normalize: nn.Module
    criterion: nn.Module
    loader: DataLoader[Any]
    batches: EpochBatches
    steps: int
    validate: Validate
    describe: Checkpoint


class Trainer:
    """Trains for the epochs of a recipe, from the last step checkpoint on where there is one."""

    def __init__(
        self,
        recipe: TrainRecipe,
        parts: Parts,
        state: RunState,
        log: EpochLog,
        processes: Processes,
        termination: Termination,
    ) -> None:
        """Build optimizer, schedule and all else that has a state; nothing is trained or read yet."""
        self.recipe = recipe
        self.parts = parts
        self.state = state
        self.log = log
        self.processes = processes
        self.termination = termination
        self.network = parts.network
        freeze(self.network, recipe.freeze)
        self.optimizer = build_optimizer(self.network, recipe.optimizer)
        self.trained = self.optimizer.param_groups[0]["params"]
        self.schedule = Schedule(
            self.optimizer,
            recipe.schedule,
            epochs=recipe.epochs,
            steps=parts.steps,
            lr=recipe.optimizer.lr,
            mode=recipe.monitor.mode,
        )
        self.precision = Precision(recipe.precision, processes.device)
        self.ema = ModelEmaV3(self.network, recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self.monitor = Monitor(recipe.monitor, recipe.early_stopping)
        if recipe.compile:
            self.network.compile()
        self.model = processes.wrap(self.network)
        self.epoch = 0
        self.step = 0  # optimizer steps of this epoch
        self.meter = Meter(1)

    @property
    def candidate(self) -> nn.Module:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.network if self.ema is None else self.ema.module

    @property
    def done(self) -> int:
        """Optimizer steps of the whole run so far."""
        return self.epoch * self.parts.steps + self.step

    def run(self) -> None:
        """Train until the last epoch, or until patience runs out.

        Raises:
            NonFiniteLossError: when the loss is no number any more.
            DeviceMemoryError: when the device has too little memory.
            SystemExit: with 143 after a SIGTERM, everything saved.
        """
        while self.epoch < self.recipe.epochs and not self.monitor.should_stop:
            with self.termination.deferred():
                self._train_epoch()
            metrics = self._validate()
            self._end_epoch(metrics)

    def _train_epoch(self) -> None:
        recipe, steps = self.recipe, self.parts.steps
        samples = recipe.batch_size * recipe.accumulate
        read_every = recipe.log_every_steps if self.processes.device.type == "cuda" else 1
        label = f"epoch {self.epoch + 1}/{recipe.epochs}"
        set_training(self.network)
        with counter((steps - self.step) * samples, unit="samples", label=label, quiet=not self.processes.main) as bar:
            for group in self._groups():
                rate = self.optimizer.param_groups[0]["lr"]
                terms = self._optimize(group)
                self.step += 1
                self.meter.add(terms, [name for batch in group for name in batch["sample_id"]], samples, rate)
                if self.step % read_every == 0:
                    bar.note(f"loss {self.meter.read():.4f}")
                bar.update(samples)
                if self._must_end():
                    break
                if self.done % recipe.checkpoint_every_steps == 0 and self.step < steps:
                    self._save()
        self.meter.stop()
        self._save()
        self._must_end()

    def _must_end(self) -> bool:
        """Return whether a SIGTERM came to any process; it is then noted in all, so that they end alike."""
        self.termination.requested = self.processes.any(self.termination.requested)
        return self.termination.requested

    def _optimize(self, group: list[Batch]) -> dict[str, Tensor]:
        """Do one optimizer step over the batches of ``group``; return the mean loss terms."""
        total: dict[str, Tensor] = {}
        with naming_keys(self.recipe, self.processes.device, self.precision.name, self.processes.world):
            for number, batch in enumerate(group, start=1):
                batch = self._to_device(batch)
                with self.processes.accumulating(self.model, last=number == len(group)):
                    with self.precision.autocast():
                        output = self.model(self.parts.normalize(batch["views"]), *_lengths(batch))
                        terms = self.parts.criterion(output, batch)
                    self.precision.scaler.scale(terms["loss"] / len(group)).backward()
                for name, value in terms.items():
                    total[name] = total.get(name, 0) + value.detach() / len(group)
            if self.recipe.clip_norm is not None:
                self.precision.scaler.unscale_(self.optimizer)
                clip_grad_norm_(self.trained, self.recipe.clip_norm)
            self.precision.scaler.step(self.optimizer)
            self.precision.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
        self.schedule.after_step(self.done + 1)
        if self.ema is not None:
            self.ema.update(self.network, step=self.done + 1)
        return total

    def _groups(self) -> Iterator[list[Batch]]:
        """Yield the batches of each optimizer step that is left of this epoch."""
        self.parts.batches.start_at(self.epoch, self.step * self.recipe.accumulate)
        batches = iter(self.parts.loader)
        while True:
            try:
                with self.meter.waiting():
                    group = list(islice(batches, self.recipe.accumulate))
            except RuntimeError:
                # A SIGTERM to the whole process group ends the loading processes too. Nothing has changed since the
                # last step, so it can be saved; but one process of several cannot do that by itself.
                if not self.termination.requested:
                    raise
                if self.processes.world > 1:
                    raise SystemExit(EXIT_STATUS) from None
                return
            if not group:
                return
            yield group

    def _to_device(self, value: Any) -> Any:
        """Return a batch, or a part of one, with its tensors on the device."""
        if isinstance(value, Mapping):
            return {name: self._to_device(part) for name, part in value.items()}
        if not isinstance(value, Tensor):
            return value
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        return value.to(
            self.processes.device,
            non_blocking=True,
            memory_format=layout if value.dim() == 4 else torch.preserve_format,
        )

    def _validate(self) -> dict[str, float]:
        """Validate in all processes together; return the metrics in all."""
        with naming_keys(self.recipe, self.processes.device, self.precision.name, None):
            metrics = self.parts.validate(self.candidate)
        return self.processes.from_main(lambda: dict(metrics or {}))

    def _end_epoch(self, metrics: dict[str, float]) -> None:
        summary = summarize(self.processes.gather(self.meter.state_dict()))
        best = self.monitor.update(metrics)
        self.schedule.after_epoch(self.epoch + 1, self.done, self.monitor.metric(metrics))
        if self.processes.main:
            if best:
                self.state.save_best(self._best_checkpoint(summary["train"]["loss"], metrics))
            self.log.add({"epoch": self.epoch + 1, "step": self.done, **summary, "val": metrics, "best": best})
        self.epoch += 1
        self.step = 0
        self.meter = Meter(self.epoch + 1)

    def _best_checkpoint(self, loss: float, metrics: dict[str, float]) -> Checkpoint:
        return replace(
            self.parts.describe,
            epoch=self.epoch + 1,
            model_state_dict=self.candidate.state_dict(),
            optimizer_state_dict=self.optimizer.state_dict(),
            loss=loss,
            metrics=metrics,
        )

    def _save(self) -> None:
        """Write a step checkpoint: everything a later start needs to go on from here."""
        loss = self.meter.read()
        ranks = self.processes.gather((randomness.capture(), self.meter.state_dict()))
        if not self.processes.main:
            return
        self.state.save_step(
            self.done,
            replace(
                self.parts.describe,
                epoch=self.epoch,
                model_state_dict=self.network.state_dict(),
                optimizer_state_dict=self.optimizer.state_dict(),
                loss=loss,
                scheduler_state_dict=self.schedule.state_dict(),
                scaler_state_dict=self.precision.scaler.state_dict(),
                ema_state_dict=None if self.ema is None else self.ema.module.state_dict(),
                random_states=[states for states, _ in ranks],
                sampler_position={"epoch": self.epoch, "step": self.step},
                metrics={"history": self.log.lines, "meters": [meter for _, meter in ranks]},
            ),
            best_epoch=next((line["epoch"] for line in reversed(self.log.lines) if line["best"]), None),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a step checkpoint of this run."""
        rank = self.processes.rank
        self.network.load_state_dict(checkpoint.model_state_dict)
        if self.ema is not None and checkpoint.ema_state_dict is not None:
            self.ema.module.load_state_dict(checkpoint.ema_state_dict)
        self.optimizer.load_state_dict(checkpoint.optimizer_state_dict or {})
        self.schedule.load_state_dict(checkpoint.scheduler_state_dict or {})
        self.precision.scaler.load_state_dict(checkpoint.scaler_state_dict or {})
        self.epoch = checkpoint.sampler_position["epoch"]
        self.step = checkpoint.sampler_position["step"]
        self.meter = Meter(self.epoch + 1)
        meters, random_states = checkpoint.metrics["meters"], checkpoint.random_states
        if len(random_states) == self.processes.world:
            self.meter.load_state_dict(meters[rank])
            randomness.restore(random_states[rank])
        else:
            # The samples and their augmentation are the same whatever the number of processes. What the network draws
            # (dropout) is a process's own: it is drawn anew, from a seed that follows from where the run is.
            self.meter.load_state_dict(combine(meters))
            seed_generators(self.recipe.seed, rank, self.done)
        self.log.restore(checkpoint.metrics["history"])
        for line in self.log.lines:
            self.monitor.update(line["val"])


def _lengths(batch: Batch) -> tuple[Tensor, ...]:
    """Return the lengths of a batch's clips as a further argument of the network; none for single pictures."""
    return (batch["lengths"],) if "lengths" in batch else ()
