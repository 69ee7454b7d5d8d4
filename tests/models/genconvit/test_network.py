from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from core.errors import SettingsError
from media.spec import InputSpec
from models.family import FAMILIES
from models.genconvit.autoencoders import MAX_LOG_VARIANCE
from models.parameters import count_parameters

FAMILY = FAMILIES.get("genconvit")
CLASSES = ("real", "manipulated")
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def an_input(name: str = "face", frames: int = 1, **view: Any) -> InputSpec:
    return InputSpec.model_validate({"views": {name: PLAIN | view}, "frames": frames})


def build(**settings: Any) -> Any:
    small = {"backbones": ("test_efficientnet", "test_convnext"), "weights": ("random", "random")}
    small |= {"autoencoder_widths": (8, 16), "latent_width": 8}
    torch.manual_seed(0)
    return FAMILY.build(FAMILY.settings(**(small | settings)), an_input(), CLASSES, pretrained=False)


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def views(count: int, size: int = 64) -> dict[str, Tensor]:
    return {"face": pictures(count, size)}


@pytest.fixture(scope="module")
def published() -> Any:
    """The published network with random weights: ConvNeXt-T and Swin-T."""
    torch.manual_seed(0)
    settings = FAMILY.settings(weights=("random", "random"))
    return FAMILY.build(settings, an_input(), CLASSES, pretrained=False).eval()


def test_the_published_network_has_a_latent_of_12544_numbers_and_every_parameter_is_trained(published: Any) -> None:
    with torch.no_grad():
        assert published.vae(pictures(1, 224)).mu.numel() == 12544
    count = count_parameters(published)
    print(f"genconvit: {count.total:,} parameters")
    assert count.total == count.trainable


def test_without_swins_contribution_the_output_changes(published: Any) -> None:
    picture = views(1, 224)
    with torch.no_grad():
        with_swin = published(picture)
        for removed in (0, 1):  # ConvNeXt's must matter likewise
            hooks = [
                path.backbones[removed].register_forward_hook(lambda _m, _i, output: torch.zeros_like(output))
                for path in (published.classifier_a, published.classifier_b)
            ]
            without = published(picture)
            for hook in hooks:
                hook.remove()
            assert not torch.allclose(without, with_swin, atol=1e-4), published.classifier_a.backbones[removed].name


@pytest.mark.parametrize("seen", ["reconstruction", "input+reconstruction"])
@pytest.mark.parametrize("size", [64, 90, 128, 160, 224])
def test_reconstructions_have_the_inputs_size_and_range_at_any_size(seen: str, size: int) -> None:
    network = build(views=seen, autoencoder_widths=(4, 8, 8, 8, 8))
    with torch.no_grad():
        output = network(views(2, size))
        logits = network.eval()(views(2, size))
    for reconstruction in (output.reconstruction_a, output.reconstruction_b):
        assert reconstruction.shape == (2, 3, size, size)
        assert reconstruction.min() >= 0
        assert reconstruction.max() <= 1
    assert logits.shape == (2, 1)


def test_reconstructions_stay_in_range_whatever_the_weights() -> None:
    network = build()
    with torch.no_grad():
        for decoder in (network.autoencoder.decoder, network.vae.decoder):
            for parameter in decoder.parameters():
                parameter.mul_(30)
        output = network(views(2))
    for reconstruction in (output.reconstruction_a, output.reconstruction_b):
        assert reconstruction.min() >= 0
        assert reconstruction.max() <= 1


def test_the_prediction_is_the_mean_of_both_paths() -> None:
    network, seen = build().eval(), []
    for path in (network.classifier_a, network.classifier_b):
        path.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        output = network(views(2))
    torch.testing.assert_close(output, (seen[0] + seen[1]) / 2)


def test_the_backbones_see_the_reconstruction_and_on_request_the_picture_too() -> None:
    picture = pictures(1)
    for shown, expected in (("reconstruction", 1), ("input+reconstruction", 2)):
        network, seen = build(views=shown).eval(), []
        network.classifier_a.backbones[0].register_forward_pre_hook(
            lambda _m, inputs, seen=seen: seen.append(inputs[0])
        )
        with torch.no_grad():
            network({"face": picture})
            reconstruction = network.autoencoder(picture)
        assert len(seen) == expected
        torch.testing.assert_close(seen[-1], reconstruction)
        assert (seen[0] is picture) == (expected == 2)


def test_each_backbone_normalises_by_its_own_mean_and_deviation() -> None:
    network = build(backbones=("tf_efficientnet_lite0", "mobilenetv2_100")).eval()
    for backbone, name in zip(
        network.classifier_b.backbones, ("tf_efficientnet_lite0", "mobilenetv2_100"), strict=True
    ):
        config: Any = timm.get_pretrained_cfg(name)
        seen: list[Tensor] = []
        backbone.model.register_forward_pre_hook(lambda _m, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            backbone(torch.tensor(config.mean).reshape(1, 3, 1, 1).expand(1, 3, 64, 64))
        torch.testing.assert_close(seen[0], torch.zeros(1, 3, 64, 64))
        torch.testing.assert_close(backbone.std.flatten(), torch.tensor(config.std))


def test_features_of_different_widths_are_projected_to_the_larger() -> None:
    network = build(backbones=("test_efficientnet", "mobilenetv2_100"))
    narrow, wide = network.classifier_a.projections
    assert isinstance(narrow, nn.Linear)
    assert narrow.out_features == 1280
    assert isinstance(wide, nn.Identity)


def test_the_latent_is_drawn_in_training_and_its_mean_in_evaluation() -> None:
    vae = build().vae
    with torch.no_grad():
        vae.log_variance.bias.fill_(-1000.0)  # a deviation of 0: the draw is the mean
        sure = vae(pictures(4))
        again = vae(pictures(4))
        torch.testing.assert_close(sure.pixels, again.pixels)
        vae.log_variance.bias.fill_(1.0)
        assert not torch.equal(vae(pictures(4)).pixels, vae(pictures(4)).pixels)
        vae.eval()
        assert torch.equal(vae(pictures(4)).pixels, vae(pictures(4)).pixels)


def test_the_deviation_of_the_draw_is_bounded_whatever_the_encoder_says() -> None:
    vae = build().vae
    torch.nn.init.constant_(vae.log_variance.bias, 1000.0)
    output = vae(pictures(2))
    assert float(output.log_variance.max()) == MAX_LOG_VARIANCE
    assert torch.isfinite(output.pixels).all()


def test_the_draw_has_the_mean_and_deviation_it_says() -> None:
    vae, latents = build().vae, []
    vae.decoder.register_forward_pre_hook(lambda _m, inputs: latents.append(inputs[0]))
    with torch.no_grad():
        vae.mu.weight.zero_()
        vae.mu.bias.fill_(3.0)
        vae.log_variance.weight.zero_()
        vae.log_variance.bias.fill_(2 * torch.log(torch.tensor(0.5)).item())
        vae(pictures(8))
    assert latents[0].mean().item() == pytest.approx(3.0, abs=0.02)
    assert latents[0].std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, r"input\.views\.face\.mean = \(0\.5, .*needs \(0\.0"),
        ({"std": (0.2, 0.2, 0.2)}, r"input\.views\.face\.std"),
        ({"name": "tiles"}, r"input\.views = tiles: family genconvit reads face or centre"),
        ({"frames": 4}, r"input\.frames = 4"),
        ({"ela": {}}, r"input\.views\.face\.ela"),
    ],
)
def test_an_input_it_cannot_reconstruct_is_refused(change: dict[str, Any], message: str) -> None:
    settings = FAMILY.settings()
    FAMILY.require_input(settings, an_input())
    with pytest.raises(SettingsError, match=message):
        FAMILY.require_input(settings, an_input(**change))


def test_six_channels_are_refused() -> None:
    with pytest.raises(SettingsError, match="the input has 6"):
        FAMILY.build(FAMILY.settings(), an_input(ela={}), CLASSES, pretrained=False)
