"""Backbones out of the files of public detectors, under the names that their code gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import MismatchError
from media.spec import InputSpec
from models.family import FAMILIES
from models.genconvit import load_genconvit_from_checkpoint
from models.spotter import load_spotter

FACE: dict[str, Any] = {"face": {"size": 64, "mean": (0, 0, 0), "std": (1, 1, 1)}}
INPUT = InputSpec.model_validate({"views": FACE})


def build(family: str, **settings: Any) -> Any:
    own = FAMILIES.get(family)
    torch.manual_seed(len(settings))
    return own.build(own.settings.model_validate(settings), INPUT, ("real", "fake"), pretrained=True)


def genconvit(**settings: Any) -> Any:
    sizes = {"backbones": ("test_convnext", "test_efficientnet"), "autoencoder_widths": (8,), "latent_width": 8}
    return build("genconvit", **sizes, **settings)


@pytest.mark.parametrize("name", ["convnext.", "convnext_backbone.", "backbone."])
def test_the_backbones_of_public_genconvits_start_both_paths(name: str, tmp_path: Path) -> None:
    donor = genconvit(weights=("random", "random"))
    first, second = (part.model.state_dict() for part in donor.classifier_a.backbones)
    state = {name + key: value for key, value in first.items()} | {
        "swin." + key: value for key, value in second.items()
    }
    state |= {name + "head.fc.weight": torch.zeros(9, 9), "fc.weight": torch.zeros(2, 2)}
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "public.pth")
    path = str(tmp_path / "public.pth")
    network = genconvit(weights=(path, path), dropout=0.25)
    for classifier in (network.classifier_a, network.classifier_b):
        for part, donated in zip(classifier.backbones, (first, second), strict=True):
            assert all(torch.equal(value, donated[key]) for key, value in part.model.state_dict().items())
    with pytest.raises(MismatchError, match=r"the backbones alone fit: train with the file as `model\.weights`"):
        load_genconvit_from_checkpoint(tmp_path / "public.pth")


def test_the_backbone_of_the_public_spotter_starts_the_encoder(tmp_path: Path) -> None:
    sizes = {"backbone": "test_efficientnet", "pyramid_channels": 16, "gru_width": 8}
    donated = build("spotter", **sizes, weights="random").encoder.model.state_dict()
    state: dict[str, Tensor] = {}
    for number, (key, value) in enumerate(donated.items()):
        name = "_conv_stem.weight" if number == 0 else f"_blocks.{number}.{key.rpartition('.')[2]}"
        state["backbone." + name] = value
        state[f"feature_extractor.{number}"] = value
    state |= {"backbone._fc.weight": torch.zeros(9, 9), "temporal.bias_hh_l0": torch.zeros(3)}
    torch.save({"epoch": 3, "model": state}, tmp_path / "public.pth")
    network = build("spotter", **sizes, weights=str(tmp_path / "public.pth"), gru_layers=1)
    assert all(torch.equal(value, donated[key]) for key, value in network.encoder.model.state_dict().items())
    with pytest.raises(MismatchError, match="of the public Spotter"):
        load_spotter(tmp_path / "public.pth")
