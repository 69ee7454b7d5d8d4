"""The recurrence written out against torch.nn.GRU on packed sequences."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.spotter.recurrence import directions, first_step, run, step
from models.spotter.temporal import frame_mask

LENGTHS = torch.tensor([3, 6, 1, 4])
WIDTH, STATE = 5, 7


def make(layers: int, dropout: float = 0.0) -> nn.GRU:
    torch.manual_seed(layers)
    gru = nn.GRU(WIDTH, STATE, num_layers=layers, batch_first=True, bidirectional=True, dropout=dropout)
    for parameter in gru.parameters():  # random weights alone leave every gate half open
        nn.init.normal_(parameter)
    return gru


def reference(gru: nn.GRU, inputs: Tensor) -> Tensor:
    packed = pack_padded_sequence(inputs, LENGTHS, batch_first=True, enforce_sorted=False)
    states: Tensor = pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=inputs.shape[1])[0]
    return states


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("frames", [6, 9])
def test_states_are_those_of_torchs_gru_whatever_lies_in_the_padding(layers: int, frames: int) -> None:
    gru, inputs = make(layers).eval(), torch.randn(len(LENGTHS), frames, WIDTH)
    mask = frame_mask(LENGTHS, frames)
    noisy = torch.where(mask, inputs, torch.full_like(inputs, 1e3))
    with torch.no_grad():
        states = run(gru, noisy, mask)
        torch.testing.assert_close(states * mask, reference(gru, inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_gradients_are_those_of_torchs_gru(layers: int) -> None:
    gru, mask = make(layers).eval(), frame_mask(LENGTHS, 6)
    weighing = torch.randn(len(LENGTHS), 6, 2 * STATE) * mask
    gradients = []
    for compute in (lambda inputs: run(gru, inputs, mask), lambda inputs: reference(gru, inputs)):
        inputs = torch.randn(len(LENGTHS), 6, WIDTH, generator=torch.Generator().manual_seed(3)).requires_grad_()
        sources = [inputs, *gru.parameters()]
        gradients.append(torch.autograd.grad((compute(inputs) * weighing).sum(), sources))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_dropout_lies_between_layers_and_in_training_alone() -> None:
    mask, inputs = frame_mask(LENGTHS, 6), torch.randn(len(LENGTHS), 6, WIDTH)
    with torch.no_grad():
        for layers, differs in ((1, False), (2, True)):
            gru = make(layers)
            gru.dropout = 0.5
            assert torch.equal(run(gru.train(), inputs, mask), run(gru.eval(), inputs, mask)) != differs
        gru = make(2)
        gru.dropout = 1.0  # nothing passes: the second layer's states do not depend on the inputs
        assert torch.equal(run(gru.train(), inputs, mask), run(gru, torch.zeros_like(inputs), mask))


def test_the_derivative_of_a_step_equals_autograds() -> None:
    forwards, _ = directions(make(1), 0)
    inputs, before = torch.randn(4, WIDTH).requires_grad_(), torch.randn(4, STATE)
    weighing = torch.randn(4, STATE)
    driven = inputs @ forwards.input_weight.t() + forwards.input_bias
    later = step(driven, before @ forwards.state_weight.t() + forwards.state_bias, before)
    for one in (later, first_step(inputs, forwards)):
        (expected,) = torch.autograd.grad((one.state * weighing).sum(), inputs, retain_graph=True)
        torch.testing.assert_close(one.input_gradient(weighing, forwards), expected, rtol=1e-5, atol=1e-6)
