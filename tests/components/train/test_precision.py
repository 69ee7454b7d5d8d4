import pytest
import torch

from components.train.precision import Precision, choose_precision
from core.errors import SettingsError

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("requested", "expected"), [("auto", "fp32"), ("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp16")]
)
def test_a_cpu_computes_in_fp32_unless_asked_for_another_format(requested, expected):
    assert choose_precision(requested, CPU) == expected


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_uses_bf16_where_its_hardware_has_it_and_fp16_else(monkeypatch, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16 or including_emulation)
    assert choose_precision("auto", CUDA) == expected


def test_bf16_that_would_be_emulated_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old GPU")
    with pytest.raises(SettingsError, match="Old GPU has no bf16"):
        choose_precision("bf16", CUDA)


@pytest.mark.parametrize(
    ("requested", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_the_forward_pass_runs_in_the_chosen_format(requested, dtype):
    layer = torch.nn.Linear(4, 4)
    with Precision(requested, CPU).autocast():
        assert layer(torch.ones(2, 4)).dtype == dtype


def test_only_fp16_scales_the_loss():
    loss = torch.tensor(2.0)
    assert Precision("bf16", CPU).scaler.scale(loss) == 2
    assert Precision("fp16", CPU).scaler.scale(loss) > 2
