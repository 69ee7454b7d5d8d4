"""Loading both families from files of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from core.errors import BadInputError, MismatchError, StorageError
from media.extraction import ExtractionSpec, FaceSpec
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, save_checkpoint
from models.family import FAMILIES
from models.genconvit import load_genconvit_from_checkpoint
from models.spotter import load_spotter

GENCONVIT = {
    "backbones": ("tf_efficientnet_lite0", "mobilenetv2_100"),
    "weights": ("random", "random"),
    "autoencoder_widths": (8, 16, 4, 8),
    "latent_width": 8,
}
INPUT = InputSpec.model_validate({"views": {"face": {"size": 64, "mean": (0, 0, 0), "std": (1, 1, 1)}}})
CLASSES = ("real", "manipulated")
SPOTTER = {"backbone": "efficientnet_b0", "weights": "random", "pyramid_channels": 16, "gru_width": 8}


def build(family: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    found = FAMILIES.get(family)
    return found.build(found.settings(**settings), INPUT, CLASSES, pretrained=False)


def checkpoint(family: str, network: nn.Module, settings: dict[str, Any]) -> Checkpoint:
    found = FAMILIES.get(family)
    spec = PreprocessingSpec(extraction=ExtractionSpec(faces=FaceSpec()), input=INPUT)
    return Checkpoint(
        epoch=7,
        model_state_dict=network.state_dict(),
        model_type=family,
        model_settings=found.settings(**settings).to_json(),
        class_names=list(CLASSES),
        spec=spec.to_json(),
        spec_sha256=spec.digest,
        metrics={"auc": 0.875},
        member="mine",
        stage="v1",
    )


def same(left: nn.Module, right: nn.Module) -> bool:
    states = left.state_dict(), right.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


@pytest.fixture(scope="module")
def genconvit() -> nn.Module:
    return build("genconvit", **GENCONVIT)


@pytest.fixture(scope="module")
def spotter() -> nn.Module:
    return build("spotter", **SPOTTER)


@pytest.mark.parametrize("family", ["genconvit", "spotter"])
def test_a_checkpoint_of_ours_is_loaded_and_described(
    family: str, genconvit: nn.Module, spotter: nn.Module, tmp_path: Path
) -> None:
    network, settings, load = {
        "genconvit": (genconvit, GENCONVIT, load_genconvit_from_checkpoint),
        "spotter": (spotter, SPOTTER, load_spotter),
    }[family]
    save_checkpoint(tmp_path / "best.pth", checkpoint(family, network, settings))
    found = load(tmp_path / "best.pth")
    assert same(found.network, network)
    assert not found.network.training
    assert found.spec is not None
    assert found.spec.input == INPUT
    backbone = next(iter(settings.values()))
    for part in ("checkpoint of mine, stage v1", "epochs: 7", "auc 0.875", backbone):
        assert str(part if isinstance(part, str) else part[0]) in found.description


@pytest.mark.parametrize(
    "write",
    [
        lambda state, path: torch.save(state, path.with_suffix(".pth")),
        lambda state, path: torch.save({"state_dict": state}, path.with_suffix(".pt")),
        lambda state, path: torch.save({"epoch": 3, "model_state_dict": state}, path.with_suffix(".pth")),
        lambda state, path: torch.save(
            {f"module.{key}": value for key, value in state.items()}, path.with_suffix(".pth")
        ),
        lambda state, path: save_file(state, path.with_suffix(".safetensors")),
    ],
    ids=["bare", "wrapped", "published", "parallel", "safetensors"],
)
def test_bare_weights_say_what_they_are(
    write: Callable[[dict[str, torch.Tensor], Path], None], genconvit: nn.Module, spotter: nn.Module, tmp_path: Path
) -> None:
    for name, network in (("genconvit", genconvit), ("spotter", spotter)):
        (tmp_path / name).mkdir()
        write(network.state_dict(), tmp_path / name / "weights")
    found = load_genconvit_from_checkpoint(next((tmp_path / "genconvit").iterdir()))
    assert same(found.network, genconvit)
    assert found.spec is None
    assert "read off the weights" in found.description
    assert "tf_efficientnet_lite0" in found.description
    found = load_spotter(next((tmp_path / "spotter").iterdir()))
    assert same(found.network, spotter)
    assert "efficientnet_b0" in found.description


def test_the_published_backbones_and_both_views_are_recognised(tmp_path: Path) -> None:
    network = build("genconvit", weights=("random", "random"), views="input+reconstruction")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    found: Any = load_genconvit_from_checkpoint(tmp_path / "weights.pth")
    assert found.settings.backbones == ("convnext_tiny", "swin_tiny_patch4_window7_224")
    assert found.settings.views == "input+reconstruction"


def test_backbones_that_are_not_known_can_be_named(tmp_path: Path) -> None:
    backbones = ("test_efficientnet", "test_convnext")
    network = build("genconvit", **(GENCONVIT | {"backbones": backbones}))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(MismatchError, match=r"backbone 0 is none of convnext_tiny, .*give `backbones`"):
        load_genconvit_from_checkpoint(tmp_path / "weights.pth")
    assert same(load_genconvit_from_checkpoint(tmp_path / "weights.pth", backbones).network, network)


@pytest.fixture(scope="module")
def b3() -> nn.Module:
    return build("spotter", **(SPOTTER | {"backbone": "efficientnet_b3"}))


def test_of_a_folder_b3_is_taken_and_b0_where_b3_cannot_be_read(
    spotter: nn.Module, b3: nn.Module, tmp_path: Path
) -> None:
    torch.save(spotter.state_dict(), tmp_path / "a.pth")
    save_checkpoint(tmp_path / "b.pth", checkpoint("spotter", b3, SPOTTER | {"backbone": "efficientnet_b3"}))
    (tmp_path / "notes.txt").write_text("no checkpoint")
    found: Any = load_spotter(tmp_path)
    assert found.settings.backbone == "efficientnet_b3"
    assert "not taken: a.pth (efficientnet_b0)" in found.description
    content = (tmp_path / "b.pth").read_bytes()
    (tmp_path / "b.pth").write_bytes(content[: len(content) // 2])
    found = load_spotter(tmp_path)
    assert found.settings.backbone == "efficientnet_b0"
    assert f"not taken: {tmp_path / 'b.pth'} is cut off" in found.description


def test_a_folder_with_two_of_the_preferred_kind_asks_for_one(spotter: nn.Module, tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save(spotter.state_dict(), tmp_path / name)
    with pytest.raises(MismatchError, match=r"several .* on efficientnet_b0 \(a\.pth, b\.pth\)"):
        load_spotter(tmp_path)


def test_a_folder_without_any_says_why(genconvit: nn.Module, tmp_path: Path) -> None:
    torch.save(genconvit.state_dict(), tmp_path / "other.pth")
    with pytest.raises(StorageError, match=r"(?s)no checkpoint of spotter .*other\.pth does not hold spotter"):
        load_spotter(tmp_path)


def test_files_of_another_kind_are_refused(genconvit: nn.Module, spotter: nn.Module, tmp_path: Path) -> None:
    torch.save(spotter.state_dict(), tmp_path / "spotter.pth")
    save_checkpoint(tmp_path / "described.pth", checkpoint("spotter", spotter, SPOTTER))
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(MismatchError, match=r"vae\.mu\.weight is missing"):
        load_genconvit_from_checkpoint(tmp_path / "spotter.pth")
    with pytest.raises(MismatchError, match="is of family spotter, not genconvit"):
        load_genconvit_from_checkpoint(tmp_path / "described.pth")
    with pytest.raises(BadInputError, match="cut off, damaged"):
        load_genconvit_from_checkpoint(tmp_path / "broken.pth")
    with pytest.raises(StorageError, match="no checkpoint at"):
        load_spotter(tmp_path / "absent.pth")
    state = spotter.state_dict()
    del state["temporal.head.bias"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(MismatchError, match=r"temporal\.head\.bias: not in the checkpoint"):
        load_spotter(tmp_path / "incomplete.pth")
