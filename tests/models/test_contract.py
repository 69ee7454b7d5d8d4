"""Every family held to the contract; a new family adds a subclass with its settings and view."""

from typing import Any, ClassVar

import pytest
import torch

from models.family import FAMILIES
from models.network import Network
from tests.models.contracts import SIZE, ClipContract, FamilyContract


class AttentionFPNContract(FamilyContract):
    family = "forgery"
    name = "tiles"
    view: ClassVar[dict[str, Any]] = {"overlap": 0}
    settings: ClassVar[dict[str, Any]] = {
        "encoder": "tu-test_efficientnet",  # the same blocks as its family, a tenth of the size
        "weights": "random",
        "pyramid_channels": 64,
        "segmentation_channels": 32,
    }

    def output_shape(self, batch: int) -> tuple[int, ...]:
        return (batch, 1, SIZE, SIZE)


class TestLogitGate(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = AttentionFPNContract.settings | {"gate": "logit"}


class TestLogitGateWithErrorLevels(TestLogitGate):
    view: ClassVar[dict[str, Any]] = {"overlap": 0, "ela": {}}


class TestFeatureGate(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = AttentionFPNContract.settings | {"gate": "features"}


class TestFeatureGateWithErrorLevels(TestFeatureGate):
    view: ClassVar[dict[str, Any]] = {"overlap": 0, "ela": {}}


class TestNoGate(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = AttentionFPNContract.settings | {"gate": "none"}


class TestNoGateWithErrorLevels(TestNoGate):
    view: ClassVar[dict[str, Any]] = {"overlap": 0, "ela": {}}


class TestFeatureGateOnEfficientNetLite(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = {
        "encoder": "tu-tf_efficientnet_lite0",
        "weights": "random",
        "gate": "features",
    }


class TestPublishedNetwork(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = {"weights": "random"}


class TestGenConViT(FamilyContract):
    family = "genconvit"
    view: ClassVar[dict[str, Any]] = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    settings: ClassVar[dict[str, Any]] = {
        "backbones": ("test_efficientnet", "test_convnext"),  # the same blocks as their families, a tenth of the size
        "weights": ("random", "random"),
        "autoencoder_widths": (8, 16),
        "latent_width": 8,
    }


class TestGenConViTOnInputAndReconstruction(TestGenConViT):
    settings: ClassVar[dict[str, Any]] = TestGenConViT.settings | {"views": "input+reconstruction"}


class TestSpotter(ClipContract):
    family = "spotter"
    settings: ClassVar[dict[str, Any]] = {
        "backbone": "test_efficientnet",
        "weights": "random",
        "pyramid_channels": 16,
        "gru_width": 8,
    }

    def test_clips_may_come_padded_in_a_dimension_of_their_own(self, network: Network) -> None:
        network.eval()
        views, lengths = self.clips(4)
        padded = torch.full((4, 6, *views["face"].shape[1:]), torch.nan)
        for row, clip in zip(padded, views["face"].split(lengths.tolist()), strict=True):
            row[: len(clip)] = clip
        with torch.no_grad():
            expected = network(views, lengths)
            torch.testing.assert_close(network({"face": padded}, lengths), expected, rtol=1e-4, atol=1e-5)
            whole = padded[3:, :4]  # without lengths a clip has all its frames
            torch.testing.assert_close(network({"face": whole}), expected[3:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [AttentionFPNContract, TestGenConViT, TestSpotter])
def test_a_data_set_of_three_classes_is_refused(kind: type[FamilyContract]) -> None:
    family = FAMILIES.get(kind.family)
    with pytest.raises(Exception, match=f"family {kind.family} tells two classes apart, not 3: a, b, c"):
        family.build(family.settings(**kind.settings), kind.input_spec(), ("a", "b", "c"), pretrained=False)


def test_every_family_is_held_to_the_contract() -> None:
    def subclasses(kind: type[FamilyContract]) -> list[type[FamilyContract]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]

    tested = {kind.family for kind in subclasses(FamilyContract) if kind.__name__.startswith("Test")}
    assert tested == set(FAMILIES.names())
