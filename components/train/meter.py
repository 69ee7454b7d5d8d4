"""What an epoch is measured by: means of the loss terms, throughput, and the share of time spent waiting for data."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from components.train.errors import NonFiniteLossError


class Meter:
    """Collects an epoch's steps.

    Loss terms stay on the device until ``read``: reading a number there makes the program wait for the device, so it
    is done every few steps. Sums are made step by step in the order of the steps, so that neither the moments of
    reading nor an interruption change them.
    """

    def __init__(self, epoch: int) -> None:
        """Begin an epoch (counted from 1); its time runs from now."""
        self._start = time.perf_counter()
        self._seconds: float | None = None
        self._epoch = epoch
        self._steps = 0
        self._samples = 0
        self._sums: dict[str, float] = {}
        self._waited = 0.0
        self._lr = 0.0
        self._unread: list[tuple[list[str], Sequence[str], Tensor]] = []

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as spent waiting for data."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._waited += time.perf_counter() - start

    def add(self, terms: Mapping[str, Tensor], sample_ids: Sequence[str], samples: int, lr: float) -> None:
        """Take in an optimizer step.

        Args:
            terms: scalars by name, ``loss`` among them.
            sample_ids: what this process computed them from.
            samples: how many samples all processes saw.
            lr: the rate of the step.
        """
        self._unread.append((list(terms), sample_ids, torch.stack([value.detach() for value in terms.values()])))
        self._samples += samples
        self._lr = lr

    def read(self) -> float:
        """Read what has gathered on the device; return the mean loss so far.

        Raises:
            NonFiniteLossError: naming the first step whose loss is not finite, and its samples.
        """
        if self._unread:
            values = torch.stack([numbers for _, _, numbers in self._unread]).tolist()
            for (names, sample_ids, _), numbers in zip(self._unread, values, strict=True):
                self._count(dict(zip(names, numbers, strict=True)), sample_ids)
            self._unread.clear()
        return self._sums.get("loss", 0.0) / max(self._steps, 1)

    def _count(self, terms: dict[str, float], sample_ids: Sequence[str]) -> None:
        self._steps += 1
        if not math.isfinite(terms["loss"]):
            raise NonFiniteLossError(self._epoch, self._steps, terms, sample_ids)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def stop(self) -> None:
        """End the epoch's time: what follows (writing, validation) is no training."""
        self._seconds = self._elapsed()

    def _elapsed(self) -> float:
        return time.perf_counter() - self._start if self._seconds is None else self._seconds

    def state_dict(self) -> dict[str, Any]:
        """Return what has been counted; call ``read`` before."""
        return {
            "steps": self._steps,
            "samples": self._samples,
            "sums": dict(self._sums),
            "seconds": self._elapsed(),
            "waited": self._waited,
            "lr": self._lr,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the time between is not counted."""
        self._steps = state["steps"]
        self._samples = state["samples"]
        self._sums = dict(state["sums"])
        self._start = time.perf_counter() - state["seconds"]
        self._waited = state["waited"]
        self._lr = state["lr"]


def combine(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of the states of some processes' meters, from which any number of processes can go on."""
    first, count = states[0], len(states)
    return {
        **first,
        "sums": {name: sum(state["sums"][name] for state in states) / count for name in first["sums"]},
        "seconds": max(state["seconds"] for state in states),
        "waited": sum(state["waited"] for state in states) / count,
    }


def summarize(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return an epoch's figures from the states of all processes' meters.

    Returns:
        ``lr`` of the last step, ``train`` (mean of each loss term over steps and processes), ``samples``,
        ``samples_per_s`` over all processes, ``seconds``, and ``data_wait`` (share of the time, 0..1).
    """
    seconds = max(state["seconds"] for state in states)
    first = states[0]
    return {
        "lr": first["lr"],
        "train": {
            name: sum(state["sums"][name] for state in states) / (first["steps"] * len(states))
            for name in first["sums"]
        },
        "samples": first["samples"],
        "samples_per_s": first["samples"] / seconds if seconds > 0 else 0.0,
        "seconds": seconds,
        "data_wait": sum(state["waited"] for state in states) / (seconds * len(states)) if seconds > 0 else 0.0,
    }
