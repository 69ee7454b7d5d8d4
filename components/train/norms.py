"""Batch normalisation over the samples of all processes: a process's share is too small for statistics of its own."""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


def synchronize(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network with every batch normalisation taken over the samples of all processes.

    Args:
        network: may be changed in place.
        device: that it will be on.
    """
    if device.type != "cpu":
        # Not torch's own conversion: it drops the activation that timm's layers have in them.
        return convert_sync_batchnorm(network)  # type: ignore[no-untyped-call, no-any-return]
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = _CpuBatchNorm  # the same attributes, another forward pass
    return network


class _CpuBatchNorm(_BatchNorm):
    """What ``nn.SyncBatchNorm`` does, which is made for GPUs alone; with timm's activation where the layer has one."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [N, C, …] by mean and variance of each channel over the batches of all processes."""
        normal = self._normalise(input)
        for name in ("drop", "act"):
            normal = getattr(self, name, nn.Identity())(normal)
        return normal

    def _normalise(self, input: Tensor) -> Tensor:
        if not self.training:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        dtype, input = input.dtype, input.float()
        others = [dimension for dimension in range(input.dim()) if dimension != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        count = _sum_over_processes(input.new_tensor([input.numel() / input.shape[1]]))
        mean = _sum_over_processes(input.sum(others)) / count
        centred = input - mean.view(shape)
        # A second exchange, because the difference of mean squares loses digits.
        variance = _sum_over_processes(centred.square().sum(others)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics on, which have the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """The sum over processes; each one's gradient is the sum of the gradients with respect to it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004  the signature is torch's
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004  the signature is torch's
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(value: Tensor) -> Tensor:
    return _Sum.apply(value)  # type: ignore[no-any-return]
