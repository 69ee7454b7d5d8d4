import pytest
import torch
from torch import nn

from core.errors import SettingsError, VeriframeError
from judging.running import evaluating, inference_mode, require_precision


def test_every_layer_is_put_back_into_its_mode():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2)).train()
    network[1].eval()
    with pytest.raises(ZeroDivisionError), evaluating(network):
        assert not network.training and not network[0].training
        raise ZeroDivisionError
    assert network.training and network[0].training and not network[1].training


def test_an_unknown_precision_is_named_with_a_suggestion():
    with pytest.raises(SettingsError, match="Did you mean 'bf16'"):
        require_precision("bf61")


def test_running_out_of_memory_says_what_to_lower():
    with (
        pytest.raises(VeriframeError, match="3 faces; lower batch_size"),
        inference_mode(torch.device("cpu"), "fp32", "3 faces"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
