"""Sums over the processes of a data-parallel run, for losses that are no mean of their samples' losses.

A ratio of sums, such as Dice, is not the mean of the ratios of parts. So losses sum over all processes first; each
process then computes the loss of the whole batch, and how many there are changes it by rounding alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_processes(value: Tensor) -> Tensor:
    """Return the sum of every process's ``value``; ``value`` itself where there is one process.

    Differentiable for losses that every process computes alike from such sums, under an average of the parameters'
    gradients over processes, as ``DistributedDataParallel`` takes: the average is then the gradient of the one loss.

    Args:
        value: floating, of the same shape in all processes; all must call, in the same order.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return value
    total: Tensor = _Sum.apply(value)
    return total


def mean_over_processes(parts: Sequence[tuple[Tensor, int]]) -> list[Tensor]:
    """Return means over the items of all processes, in one exchange.

    Args:
        parts: of each mean the sum over this process's items, a scalar, and how many they are.

    Returns:
        Scalars; differentiable as ``sum_over_processes`` is.
    """
    sums = torch.stack([value for value, _ in parts])
    counts = torch.tensor([count for _, count in parts], dtype=sums.dtype, device=sums.device)
    totals, items = sum_over_processes(torch.stack([sums, counts])).unbind()
    return list(totals / items)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        del ctx
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Each process passes on what its own part does to the loss; the average over processes divides the sum of these
        # by their number, which is made up for here.
        del ctx
        return gradient * dist.get_world_size()
