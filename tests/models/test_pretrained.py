from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import BadInputError, MismatchError, SettingsError, StorageError
from media.pixel_view import IMAGENET_MEAN, IMAGENET_STD
from media.spec import InputSpec
from models.backbone import PooledBackbone, PyramidBackbone, start
from models.family import FAMILIES
from models.pretrained import PACKAGES, fit_weights, read_weights

PACKAGE = "package:efficientnet-lite0"
LITE0 = "tu-tf_efficientnet_lite0"
CATS = range(281, 286)  # ImageNet's classes of cats


@pytest.fixture(scope="module")
def lite0() -> nn.Module:
    model: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(fit_weights(read_weights(PACKAGE), model.state_dict(), PACKAGE))
    return model.eval()


@pytest.fixture
def cat() -> Tensor:
    cv2, data = pytest.importorskip("cv2"), pytest.importorskip("skimage.data")
    picture = cv2.resize(data.chelsea()[:, 75:375], (224, 224), interpolation=cv2.INTER_AREA)
    return torch.from_numpy((picture.transpose(2, 0, 1)[None] / 255 - 0.498) / 0.502).float()


def encoder(name: str, weights: str, channels: int = 3) -> nn.Module:
    family = FAMILIES.get("forgery")
    input_spec = InputSpec.model_validate({"views": {"tiles": {"ela": {} if channels == 6 else None}}})
    settings = family.settings(encoder=name, weights=weights)
    network: Any = family.build(settings, input_spec, ("authentic", "forged"), pretrained=True).eval()
    return network.fpn.encoder


def test_the_packages_weights_mapped_in_order_recognise_a_cat(lite0: nn.Module, cat: Tensor) -> None:
    with torch.no_grad():
        assert int(lite0(cat).argmax()) in CATS


def test_mobilenetv2s_weights_mapped_in_order_recognise_a_cat() -> None:
    model = timm.create_model("mobilenetv2_100", pretrained=False)
    model.load_state_dict(fit_weights(read_weights("package:mobilenetv2"), model.state_dict(), "package:mobilenetv2"))
    cv2, data = pytest.importorskip("cv2"), pytest.importorskip("skimage.data")
    picture = cv2.resize(data.chelsea()[:, 75:375], (224, 224), interpolation=cv2.INTER_AREA)
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    pixels = torch.from_numpy(((picture / 255 - mean) / std).transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        assert int(model.eval()(pixels).argmax()) in CATS


@pytest.mark.parametrize(
    ("name", "weights"), [("tf_efficientnet_lite0", PACKAGE), ("mobilenetv2_100", "package:mobilenetv2")]
)
def test_both_kinds_of_backbone_start_from_a_package(name: str, weights: str) -> None:
    reference = timm.create_model(name, pretrained=False)
    reference.load_state_dict(fit_weights(read_weights(weights), reference.state_dict(), weights))
    reference.eval()
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pooled, pyramid = PooledBackbone(name), PyramidBackbone(name, 3)
    start(pooled, weights)
    start(pyramid, weights)
    with torch.no_grad():
        normalised = (pixels - pooled.mean) / pooled.std
        torch.testing.assert_close(
            pooled.eval()(pixels), reference.forward_head(reference.forward_features(normalised), pre_logits=True)
        )
        deepest = reference.forward_intermediates(normalised, indices=1, intermediates_only=True)[0]
        torch.testing.assert_close(pyramid.eval()(normalised)[-1], deepest)


def test_weights_in_a_package_that_were_altered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    altered = PACKAGES["mobilenetv2"]._replace(sha256="0" * 64)
    monkeypatch.setitem(PACKAGES, "mobilenetv2", altered)
    with pytest.raises(MismatchError, match=r"mobilenet_v2-b0353104\.pth has sha256 b0353104.*, expected 0000"):
        read_weights("package:mobilenetv2")


def test_an_encoder_from_the_package_computes_what_timms_network_does(lite0: nn.Module, cat: Tensor) -> None:
    features = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True).eval()
    features.load_state_dict({key: lite0.state_dict()[key] for key in features.state_dict()})
    with torch.no_grad():
        for ours, reference in zip(encoder(LITE0, PACKAGE)(cat)[1:], features(cat), strict=True):
            assert torch.equal(ours, reference)


def test_the_other_form_of_the_encoder_receives_every_tensor_too(lite0: nn.Module) -> None:
    state = encoder("timm-tf_efficientnet_lite0", PACKAGE).state_dict()
    reference = lite0.state_dict()
    assert set(reference) - set(state) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(value, reference[key]) for key, value in state.items())


def test_six_channels_repeat_the_first_convolution_at_half_strength() -> None:
    three = encoder(LITE0, PACKAGE).model.conv_stem.weight
    six = encoder(LITE0, PACKAGE, channels=6).model.conv_stem.weight
    assert torch.equal(six, torch.cat([three, three], dim=1) / 2)


@pytest.mark.parametrize(
    "write",
    [
        lambda state, path: torch.save(state, path.with_suffix(".pth")),
        lambda state, path: torch.save({"state_dict": state}, path.with_suffix(".pth")),
        lambda state, path: save_file(state, path.with_suffix(".safetensors")),
    ],
    ids=["bare", "wrapped", "safetensors"],
)
def test_a_file_with_timms_names_is_read(
    lite0: nn.Module, tmp_path: Path, write: Callable[[dict[str, Tensor], Path], None]
) -> None:
    write(dict(lite0.state_dict()), tmp_path / "weights")
    (path,) = tmp_path.iterdir()
    loaded = encoder(LITE0, str(path)).state_dict()
    assert all(torch.equal(value, lite0.state_dict()[key.removeprefix("model.")]) for key, value in loaded.items())


def test_weights_of_another_network_are_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    with pytest.raises(MismatchError, match=r"(?s)other\.pth do not fit the encoder:\n.*conv_stem\.weight: missing"):
        encoder(LITE0, str(path))


def test_weights_in_order_of_another_depth_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"(?s)do not fit the encoder.*: missing"):
        encoder("tu-tf_efficientnet_lite1", PACKAGE)


def test_a_tensor_of_another_shape_is_refused_with_both() -> None:
    state = {"_conv_stem.weight": torch.zeros(2, 3, 1, 1), "_bn0.bias": torch.zeros(2)}
    backbone = {"conv.weight": torch.zeros(2, 6, 1, 1), "bn.bias": torch.zeros(4)}
    with pytest.raises(MismatchError, match=r"fit the encoder:\n  bn\.bias: shape \(2,\), expected \(4,\)$"):
        fit_weights(state, backbone, "file")


def test_a_tensor_left_over_is_refused_unless_the_classifier_owned_it(lite0: nn.Module) -> None:
    backbone = {key: value for key, value in lite0.state_dict().items() if not key.startswith("classifier.")}
    assert fit_weights(lite0.state_dict(), backbone, "file").keys() == backbone.keys()
    with pytest.raises(MismatchError, match=r"extra\.weight: has no place"):
        fit_weights({**backbone, "extra.weight": torch.zeros(1)}, backbone, "file")


def test_a_missing_tensor_is_refused_but_a_counter_is_not(lite0: nn.Module) -> None:
    backbone = dict(lite0.state_dict())
    without = {key: value for key, value in backbone.items() if not key.endswith("num_batches_tracked")}
    assert fit_weights(without, backbone, "file").keys() == backbone.keys()
    del without["bn1.weight"]
    with pytest.raises(MismatchError, match=r"bn1\.weight: missing"):
        fit_weights(without, backbone, "file")


def test_order_is_only_trusted_where_kinds_agree() -> None:
    state = {"_conv_stem.weight": torch.zeros(2), "_bn0.bias": torch.zeros(2)}
    backbone = {"conv.weight": torch.zeros(2), "bn.weight": torch.zeros(2)}
    with pytest.raises(MismatchError, match=r"bn\.weight: in its place stands _bn0\.bias"):
        fit_weights(state, backbone, "file")


def test_a_failed_download_says_how_to_give_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(StorageError, match=r"timm-efficientnet-b2 cannot be downloaded .* give its path as `weights`"):
        encoder("timm-efficientnet-b2", "imagenet")


def test_a_missing_file_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no weights at .*absent\.pth; give the path of a file"):
        encoder(LITE0, str(tmp_path / "absent.pth"))


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInputError, match="cannot be read as weights") as raised:
            read_weights(str(tmp_path / name))
        assert raised.value.reason == "weights-unreadable"


def test_a_file_with_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "weights.pth")
    with pytest.raises(BadInputError, match="holds no state dictionary"):
        read_weights(str(tmp_path / "weights.pth"))


def test_an_unknown_package_is_answered_with_the_closest() -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'efficientnet-lite0'"):
        read_weights("package:efficientnet-lite1")


@pytest.mark.parametrize(
    ("name", "close"), [("timm-eficientnet-b2", "timm-efficientnet-b2"), ("tu-resnet_18", "tu-resnet18")]
)
def test_an_unknown_encoder_is_answered_with_the_closest(name: str, close: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown encoder '{name}'. Did you mean '{close}'"):
        encoder(name, "random")


def test_an_encoder_that_does_not_fit_a_pyramid_is_named() -> None:
    with pytest.raises(SettingsError, match="encoder 'tu-vit_tiny_patch16_224' does not work in a pyramid"):
        encoder("tu-vit_tiny_patch16_224", "random")
