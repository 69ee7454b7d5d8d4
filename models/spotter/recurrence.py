"""Spotter's recurrence: torch.nn.GRU in both directions, written out step by step.

nn.GRU reads clips of several lengths as a packed sequence, whose number of steps depends on the data: no exported graph
can hold that, nor does nn.GRU hand out its gates, by which the exported heatmap is differentiated. So nn.GRU holds the
parameters alone, under their usual keys. ``run`` is what training, evaluation and the exported clip network compute:
every clip takes T steps, and a step on padding leaves the state as it is. ``step`` is one step; the heatmap takes it
once, from a state of zero, and ``Step.input_gradient`` is its derivative.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Direction(NamedTuple):
    """The parameters of one direction of one layer; rows are those of reset, update and candidate, H each."""

    input_weight: Tensor
    input_bias: Tensor
    state_weight: Tensor
    state_bias: Tensor


class Step(NamedTuple):
    """One step, all [B, H].

    Attributes:
        before: the state before it.
        reset: in 0..1, how much of the state enters the candidate.
        update: in 0..1, how much of the state stays.
        candidate: in -1..1.
        carried: what the state offers the candidate.
        state: the state after it, update · before + (1 - update) · candidate.
    """

    before: Tensor
    reset: Tensor
    update: Tensor
    candidate: Tensor
    carried: Tensor
    state: Tensor

    def input_gradient(self, gradient: Tensor, direction: Direction) -> Tensor:
        """Return the gradient by the step's inputs [B, D], given that by the state after it [B, H]."""
        candidate = gradient * (1 - self.update) * (1 - self.candidate.square())
        update = gradient * (self.before - self.candidate) * self.update * (1 - self.update)
        reset = candidate * self.carried * self.reset * (1 - self.reset)
        return torch.cat([reset, update, candidate], dim=1) @ direction.input_weight


def directions(gru: nn.GRU, layer: int) -> tuple[Direction, Direction]:
    """Return the parameters of a layer, forwards in time and backwards."""
    onward, back = (
        Direction(
            *(getattr(gru, f"{name}_l{layer}{suffix}") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
        )
        for suffix in ("", "_reverse")
    )
    return onward, back


def step(driven: Tensor, offered: Tensor, before: Tensor) -> Step:
    """Take a step from the state ``before`` [B, H].

    Args:
        driven: input weight · inputs + input bias, [B, 3H].
        offered: state weight · ``before`` + state bias, [B, 3H].
        before: see ``Step``.
    """
    by_input, by_state = driven.chunk(3, dim=1), offered.chunk(3, dim=1)
    reset = torch.sigmoid(by_input[0] + by_state[0])
    update = torch.sigmoid(by_input[1] + by_state[1])
    candidate = torch.tanh(by_input[2] + reset * by_state[2])
    state = update * before + (1 - update) * candidate
    return Step(before, reset, update, candidate, by_state[2], state)


def first_step(inputs: Tensor, direction: Direction) -> Step:
    """Take the first step of a clip, from a state of zero, on ``inputs`` [B, D]."""
    driven = functional.linear(inputs, direction.input_weight, direction.input_bias)
    offered = direction.state_bias.expand_as(driven)
    return step(driven, offered, torch.zeros_like(driven.chunk(3, dim=1)[0]))


def run(gru: nn.GRU, inputs: Tensor, mask: Tensor) -> Tensor:
    """Return the last layer's states [B, T, 2H], which mean nothing on padding.

    Args:
        gru: bidirectional; in training mode it drops its share of what passes between layers.
        inputs: [B, T, D].
        mask: bool [B, T, 1], True on frames, False on the padding behind them.
    """
    features = inputs
    for layer in range(gru.num_layers):
        if layer:
            features = functional.dropout(features, gru.dropout, gru.training)
        onward, back = directions(gru, layer)
        states = [_states(onward, features, mask), _states(back, features.flip(1), mask.flip(1)).flip(1)]
        features = torch.cat(states, dim=2)
    return features


def _states(direction: Direction, inputs: Tensor, mask: Tensor) -> Tensor:
    driven = functional.linear(inputs, direction.input_weight, direction.input_bias)
    state = torch.zeros_like(driven[:, 0].chunk(3, dim=1)[0])
    states = []
    for one, present in zip(driven.unbind(1), mask.unbind(1), strict=True):
        offered = functional.linear(state, direction.state_weight, direction.state_bias)
        state = torch.where(present, step(one, offered, state).state, state)
        states.append(state)
    return torch.stack(states, dim=1)
