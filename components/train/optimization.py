"""The optimizer, its learning-rate schedule, and which parameters are trained at all."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from components.train.recipe import OptimizerSettings, ScheduleSettings
from core.errors import SettingsError

NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Stop training the parameters whose names match one of the patterns.

    Args:
        network: changed in place.
        patterns: shell-style, matched against whole parameter names.

    Raises:
        SettingsError: when a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            some = ", ".join(list(parameters)[:5])
            raise SettingsError(f"freeze = {pattern!r} matches no parameter; names look like {some}")
        for name in matching:
            parameters[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in parameters.values()):
        raise SettingsError(f"freeze = {list(patterns)} leaves no parameter to train")


def set_training(network: nn.Module) -> None:
    """Put the network in training mode, but for normalisation layers that are frozen: their statistics stay too."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, NORMALIZATIONS) and own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def build_optimizer(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """Return the optimizer over the parameters that are trained."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    lr, decay = settings.lr, settings.weight_decay
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=lr, weight_decay=decay, momentum=settings.momentum, nesterov=settings.momentum > 0
        )
    # The fused kernels do one pass over memory instead of a dozen.
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=decay, fused=True)


class Schedule:
    """The learning rate over the run: warm-up, then cosine, constant, or lower at every plateau of the metric.

    timm's schedulers give cosine, constant and warm-up as functions of time. torch's gives the plateau, because timm's
    does not keep its counters in its state.
    """

    def __init__(
        self, optimizer: Optimizer, settings: ScheduleSettings, *, epochs: int, steps: int, lr: float, mode: str
    ) -> None:
        """Set the optimizer to the first step's rate.

        Args:
            optimizer: whose rate is moved.
            settings: from the recipe.
            epochs: in the whole run.
            steps: optimizer steps an epoch.
            lr: the highest rate.
            mode: ``max`` or ``min``, of the monitored metric.
        """
        unit = 1 if settings.interval == "epoch" else steps
        self._per_step = settings.interval == "step"
        self._warmup = round(settings.warmup_epochs * unit)
        shared: dict[str, Any] = {
            "warmup_t": self._warmup,
            "warmup_lr_init": settings.warmup_factor * lr,
            "t_in_epochs": not self._per_step,
        }
        self._curve = (
            CosineLRScheduler(optimizer, t_initial=epochs * unit, lr_min=settings.min_lr, **shared)
            if settings.name == "cosine"
            else StepLRScheduler(optimizer, decay_t=1, decay_rate=1.0, **shared)
        )
        self._plateau = (
            ReduceLROnPlateau(
                optimizer,
                mode=mode,  # type: ignore[arg-type]
                factor=settings.factor,
                patience=settings.patience,
                min_lr=settings.min_lr,
            )
            if settings.name == "plateau"
            else None
        )

    def after_step(self, done: int) -> None:
        """Move on after an optimizer step.

        Args:
            done: optimizer steps of the run so far.
        """
        if self._per_step and not (self._plateau and done > self._warmup):
            self._curve.step_update(done)

    def after_epoch(self, done: int, steps_done: int, metric: float) -> None:
        """Move on after an epoch.

        Args:
            done: epochs of the run so far.
            steps_done: optimizer steps of the run so far.
            metric: the monitored metric of this epoch.
        """
        time = steps_done if self._per_step else done
        if self._plateau is not None and time > self._warmup:
            self._plateau.step(metric)
        elif not self._per_step:
            self._curve.step(done)

    def state_dict(self) -> dict[str, Any]:
        """Return what changes while it runs; the rest follows from the recipe."""
        return {} if self._plateau is None else dict(self._plateau.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the rates themselves are in the optimizer's."""
        if self._plateau is not None:
            self._plateau.load_state_dict(state)
