"""Checkpoints of the published layout, made here with the published names and sizes."""

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from core.errors import MismatchError
from media.spec import InputSpec
from models.checkpoint import load_network, load_state, read_checkpoint
from models.family import FAMILIES

FAMILY = FAMILIES.get("forgery")
INPUT = InputSpec.model_validate({"views": {"tiles": {}}})


class Published(nn.Module):
    """smp.FPN as ``base``, the gate's layers as ``attention.conv``."""

    def __init__(self) -> None:
        super().__init__()
        self.base = smp.FPN("timm-efficientnet-b2", encoder_weights=None, classes=1)
        self.attention = nn.Module()
        self.attention.conv = nn.Sequential(
            nn.Conv2d(1, 8, 1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 1, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.base(pixels)
        gated: Tensor = logits * self.attention.conv(logits)
        return gated


@pytest.fixture(scope="module")
def published() -> Published:
    torch.manual_seed(0)
    network = Published()
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))  # gives the running statistics values of their own
    return network.eval()


@pytest.fixture(scope="module")
def file(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("published") / "high_recall_v3_best.pth"
    optimizer = torch.optim.AdamW(published.parameters(), lr=1e-4, weight_decay=1e-4)
    content = {
        "epoch": 24,
        "model_state_dict": published.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": np.float64(0.125),
    }
    torch.save(content, path)
    return path


def test_a_published_checkpoint_loads_strictly_and_computes_the_same(published: Published, file: Path) -> None:
    network = FAMILY.build(FAMILY.settings(weights="random"), INPUT, ("authentic", "forged"), pretrained=False).eval()
    assert load_state(network, read_checkpoint(file).model_state_dict, FAMILY, strict=True) == []
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(network({"tiles": pixels}), published(pixels))


def test_under_a_feature_gate_it_computes_what_it_did_before_its_own_gate(published: Published, file: Path) -> None:
    network = FAMILY.build(
        FAMILY.settings(weights="random", gate="features"), INPUT, ("authentic", "forged"), pretrained=False
    ).eval()
    lines = load_state(network, read_checkpoint(file).model_state_dict, FAMILY, strict=False)
    assert "gate.layers.6.bias: in the checkpoint, not in the network; not loaded" in lines
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(network({"tiles": pixels}), published.base(pixels))


def test_it_is_a_base_and_no_network_to_predict_with(file: Path) -> None:
    with pytest.raises(MismatchError, match=r"does not say which network it holds .* use it as a base"):
        load_network(file)
