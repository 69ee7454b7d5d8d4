"""Checkpoints of the published layout, made here with the published names and sizes."""

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from core.errors import MismatchError
from media.extraction import ExtractionSpec
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import NUMPY_SCALARS, Checkpoint, load_network, load_state, read_checkpoint, save_checkpoint
from models.family import FAMILIES
from models.forgery.published import publish_state
from models.published import main

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


def _ours(file: Path, folder: Path, **settings: object) -> Path:
    """Load the published file into a network of ours and save that as training does."""
    spec = PreprocessingSpec(extraction=ExtractionSpec(), input=INPUT)
    model = FAMILY.settings.model_validate({"weights": "random"} | settings)
    network = FAMILY.build(model, INPUT, ("authentic", "forged"), pretrained=False)
    read = read_checkpoint(file)
    load_state(network, read.model_state_dict, FAMILY, strict=False)
    path = folder / "high_recall_v4_best.pth"
    described = Checkpoint(
        epoch=read.epoch,
        model_state_dict=network.state_dict(),
        optimizer_state_dict=read.optimizer_state_dict,
        loss=read.loss,
        model_type="forgery",
        model_settings=model.to_json(),
        class_names=["authentic", "forged"],
        spec=spec.to_json(),
        spec_sha256=spec.digest,
    )
    save_checkpoint(path, described)
    return path


def test_written_back_it_is_what_it_was_and_loads_in_the_original_network(
    published: Published, file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "published.pth"
    assert main([str(_ours(file, tmp_path)), str(output)]) == 0
    with torch.serialization.safe_globals(NUMPY_SCALARS):
        before, after = (torch.load(path, weights_only=True) for path in (file, output))
    assert list(after) == list(before) == ["epoch", "model_state_dict", "optimizer_state_dict", "loss"]
    assert (after["epoch"], after["loss"], after["optimizer_state_dict"]) == (
        before["epoch"],
        before["loss"],
        before["optimizer_state_dict"],
    )
    assert list(after["model_state_dict"]) == list(before["model_state_dict"])
    original = Published()
    original.load_state_dict(after["model_state_dict"])
    for name, value in original.state_dict().items():
        assert torch.equal(value, published.state_dict()[name]), name


def test_what_the_original_loader_cannot_build_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "published.pth"
    assert main([str(_ours(file, tmp_path, gate="features")), str(output)]) == 1
    assert "model.gate = 'features'" in capsys.readouterr().err
    assert not output.exists()
    with pytest.raises(MismatchError, match=r"model\.gate_width = 16.*model\.segmentation_channels = 64"):
        publish_state(FAMILY.settings(gate_width=16, segmentation_channels=64), INPUT, {})


def test_other_normalisation_and_other_families_are_refused() -> None:
    other = InputSpec.model_validate({"views": {"tiles": {"mean": (0.5, 0.5, 0.5)}}})
    with pytest.raises(MismatchError, match=r"mean = \(0\.5, 0\.5, 0\.5\)"):
        publish_state(FAMILY.settings(), other, {})
    assert FAMILIES.get("spotter").publish_state is None
