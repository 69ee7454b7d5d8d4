"""How large a network is."""

from typing import NamedTuple

from torch import nn


class ParameterCount(NamedTuple):
    """Numbers of scalar parameters; ``trainable`` are those that receive gradients."""

    total: int
    trainable: int


def count_parameters(network: nn.Module) -> ParameterCount:
    """Count the parameters of ``network``, shared ones once."""
    parameters = list(network.parameters())
    return ParameterCount(
        total=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )
