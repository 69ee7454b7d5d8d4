from fnmatch import fnmatchcase
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from core.errors import SettingsError
from media.spec import InputSpec
from models.family import FAMILIES
from models.parameters import count_parameters

FAMILY = FAMILIES.get("spotter")
CLASSES = ("real", "manipulated")


def build(ela: dict[str, Any] | None = None, **settings: Any) -> Any:
    small = {"backbone": "test_efficientnet", "weights": "random", "pyramid_channels": 16, "gru_width": 8}
    torch.manual_seed(0)
    input_spec = InputSpec.model_validate({"views": {"face": {"ela": ela}}})
    return FAMILY.build(FAMILY.settings(**(small | settings)), input_spec, CLASSES, pretrained=False)


def pictures(count: int, size: int = 64, channels: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count)
    return {"face": torch.randn(count, channels, size, size, generator=generator)}


@pytest.mark.parametrize(("backbone", "parameters"), [("efficientnet_b0", 17_793_638), ("efficientnet_b3", 24_326_162)])
def test_the_published_sizes_have_their_numbers_of_parameters(backbone: str, parameters: int) -> None:
    settings = FAMILY.settings(backbone=backbone, weights="random")
    input_spec = InputSpec.model_validate({"views": {"face": {}}})
    network: Any = FAMILY.build(settings, input_spec, CLASSES, pretrained=False)
    attention = count_parameters(network.attention).total
    assert count_parameters(network) == (parameters, parameters)
    assert 0.09e6 < attention < 0.11e6


@pytest.mark.parametrize(("size", "sides"), [(224, [28, 14, 7]), (300, [38, 19, 10]), (160, [20, 10, 5])])
def test_attention_is_returned_for_the_three_scales(size: int, sides: list[int]) -> None:
    network = build().eval()
    with torch.no_grad():
        logits, attention = network(pictures(2, size), return_attention=True)
    assert logits.shape == (2, 1)
    assert [places.shape for places in attention.places] == [(2, 1, side, side) for side in sides]
    assert [channels.shape for channels in attention.channels] == [(2, 16, 1, 1)] * 3
    assert all(weights.min() >= 0 and weights.max() <= 1 for weights in (*attention.places, *attention.channels))


def test_what_is_returned_of_time_lies_packed_and_its_mean_is_the_clips_logit() -> None:
    network, lengths = build().eval(), torch.tensor([2, 1, 3])
    with torch.no_grad():
        logits, temporal, attention = network(pictures(6), lengths, return_temporal=True, return_attention=True)
        plain = network(pictures(6), lengths)
    assert temporal.vectors.shape == (6, 16)
    assert attention.places[0].shape[0] == 6
    torch.testing.assert_close(plain, logits)
    means = torch.stack([part.mean() for part in temporal.logits.split(lengths.tolist())]).unsqueeze(1)
    torch.testing.assert_close(means, logits)


def test_the_order_of_frames_matters() -> None:
    network = build().eval()
    with torch.no_grad():
        torch.nn.init.normal_(network.temporal.head.weight)
        onward, back = (
            network(pictures(4), torch.tensor([4])),
            network({"face": pictures(4)["face"].flip(0)}, torch.tensor([4])),
        )
    assert not torch.allclose(onward, back, atol=1e-5)


def test_freezing_the_encoder_leaves_pyramid_and_attention_to_learn() -> None:
    network = build()
    frozen = {name for name, _ in network.named_parameters() if fnmatchcase(name, "encoder.*")}
    backbone = timm.create_model("test_efficientnet", features_only=True, out_indices=(2, 3, 4))
    assert len(frozen) == len(list(backbone.parameters()))
    left = {name.partition(".")[0] for name, _ in network.named_parameters() if name not in frozen}
    assert left == {"pyramid", "attention", "temporal"}


def test_attention_changes_the_verdict() -> None:
    network = build().eval()
    with torch.no_grad():
        before = network(pictures(1))
        for level in network.attention.levels:
            level.place.bias.fill_(-2.0)
        assert not torch.allclose(network(pictures(1)), before, atol=1e-6)


@pytest.mark.parametrize("backbone", ["test_convnext", "tf_efficientnet_lite0", "mobilenetv2_100"])
def test_other_backbones_serve(backbone: str) -> None:
    network = build(backbone=backbone).eval()
    with torch.no_grad():
        assert network(pictures(2), torch.tensor([2])).isfinite().all()
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_transformer_of_windows_serves_at_another_size_than_its_own() -> None:
    network = build(backbone="swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        assert network(pictures(1, 160)).shape == (1, 1)


def test_six_channels_are_taken() -> None:
    network = build(ela={}).eval()
    with torch.no_grad():
        assert network(pictures(1, channels=6)).shape == (1, 1)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("eficientnet_b0", "unknown backbone 'eficientnet_b0'. Did you mean 'efficientnet_b0'"),
        ("vit_tiny_patch16_224", r"strides \[16"),
    ],
)
def test_a_backbone_that_cannot_serve_is_named(backbone: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(backbone=backbone)
