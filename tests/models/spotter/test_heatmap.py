"""The closed form of the heatmap against Grad-CAM written with autograd for any layer of any network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from media.spec import InputSpec
from models.family import FAMILIES
from models.spotter.heatmap import SCALE_WEIGHTS, activation_maps, frame_gradients, fuse

SIZE = 224
INPUT = InputSpec.model_validate({"views": {"face": {"size": SIZE}}})


@pytest.fixture(scope="module", params=[(2, 2), (0, 1), (1, 3)], ids=str)
def network(request: pytest.FixtureRequest) -> Any:
    layers, gru_layers = request.param
    torch.manual_seed(0)
    family = FAMILIES.get("spotter")
    settings = family.settings(
        backbone="test_efficientnet",
        weights="random",
        pyramid_channels=16,
        gru_width=8,
        temporal_layers=layers,
        gru_layers=gru_layers,
    )
    network: Any = family.build(settings, INPUT, ("real", "manipulated"), pretrained=False).eval()
    for parameter in network.temporal.parameters():  # random weights alone leave every gate half open
        nn.init.normal_(parameter, std=0.5)
    return network


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def grad_cam(network: nn.Module, layer: nn.Module, pictures: Tensor) -> Tensor:
    """Grad-CAM as Selvaraju et al. (2017) define it, each map divided by its largest value."""
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output[0]))
    logits = network({"face": pictures})
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.sum(), kept[0])
    alpha = gradient.mean(dim=(2, 3), keepdim=True)
    cam = functional.relu((alpha * kept[0]).sum(dim=1, keepdim=True)).detach()
    return cam / cam.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(cam.dtype).tiny)


def test_the_maps_equal_grad_cam_by_autograd_at_every_scale(network: Any, pictures: Tensor) -> None:
    maps = network.heatmaps({"face": pictures})
    references = [grad_cam(network, level, pictures) for level in network.attention.levels]
    assert [reference.shape[-1] for reference in references] == [28, 14, 7]
    assert any(reference.any() for reference in references)
    torch.testing.assert_close(maps["single"], references[-1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(maps["multi"], fuse(references), rtol=1e-3, atol=1e-4)


def test_the_gradient_of_a_frame_alone_equals_autograds(network: Any) -> None:
    vectors = torch.randn(5, network.width, generator=torch.Generator().manual_seed(2)).requires_grad_()
    _, expected = network.temporal(vectors.unsqueeze(1), torch.ones(5).long())
    (by_autograd,) = torch.autograd.grad(expected.sum(), vectors)
    with torch.no_grad():
        logits, gradient = frame_gradients(network.temporal, vectors)
    torch.testing.assert_close(logits, expected.squeeze(1))
    torch.testing.assert_close(gradient, by_autograd, rtol=1e-4, atol=1e-6)


def test_the_map_has_the_finest_scale_and_stays_in_range(network: Any, pictures: Tensor) -> None:
    with torch.no_grad():
        maps = network.heatmaps({"face": pictures})
    assert list(maps) == ["multi", "single"]
    assert maps["multi"].shape == (3, 1, 28, 28)
    assert maps["single"].shape == (3, 1, 7, 7)
    assert all(one.min() >= 0 and one.max() <= 1 for one in maps.values())


def test_the_exported_part_gives_the_same_map(network: Any, pictures: Tensor) -> None:
    part, names = network.frame_part()
    with torch.no_grad():
        exported = part({"face": pictures})[names.index("heatmap")]
        assert torch.equal(exported, network.heatmaps({"face": pictures})["multi"])


def test_the_scales_are_weighed_as_published() -> None:
    maps = [torch.zeros(1, 1, side, side) for side in (4, 2, 1)]
    for number, weight in enumerate(SCALE_WEIGHTS):
        lit = [torch.ones_like(one) if number == other else one for other, one in enumerate(maps)]
        torch.testing.assert_close(fuse(lit), torch.full((1, 1, 4, 4), weight))
    assert SCALE_WEIGHTS == (0.3, 0.3, 0.4)


def test_a_picture_that_nothing_speaks_against_has_an_empty_map() -> None:
    levels = [torch.ones(2, 3, side, side) for side in (4, 2)]
    gradient = torch.tensor([[-1.0] * 6, [1.0] * 6])
    for one in activation_maps(levels, gradient):
        assert not one[0].any()
        assert torch.equal(one[1], torch.ones_like(one[1]))
