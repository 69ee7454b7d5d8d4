import math
from typing import Any

import pytest
import torch

from media.spec import InputSpec
from models.family import FAMILIES
from models.spotter.network import SpotterOutput

FAMILY = FAMILIES.get("spotter")
EVEN = math.log(2)  # the cross-entropy of a logit of 0


def loss(output: SpotterOutput, batch: dict[str, torch.Tensor], **settings: Any) -> dict[str, float]:
    terms = FAMILY.loss(FAMILY.loss_settings(**settings))(output, batch)
    return {name: term.item() for name, term in terms.items()}


def test_frames_have_the_label_of_their_clip() -> None:
    output = SpotterOutput(torch.zeros(2, 1), torch.tensor([[-50.0], [50.0], [50.0]]))
    batch = {"label": torch.tensor([0, 1]), "lengths": torch.tensor([1, 2])}
    terms = loss(output, batch, clip_weight=2.0, frame_weight=3.0)
    assert terms == pytest.approx({"loss": 2 * EVEN, "clip": EVEN, "frame": 0.0}, abs=1e-6)


def test_single_pictures_need_no_lengths() -> None:
    output = SpotterOutput(torch.zeros(2, 1), torch.zeros(2, 1))
    assert loss(output, {"label": torch.tensor([0, 1])}) == pytest.approx(
        {"loss": 1.5 * EVEN, "clip": EVEN, "frame": EVEN}
    )


def test_a_clip_of_one_has_the_logit_of_its_frame_and_costs_no_second_pass() -> None:
    torch.manual_seed(0)
    settings = FAMILY.settings(backbone="test_efficientnet", weights="random", pyramid_channels=16, gru_width=8)
    input_spec = InputSpec.model_validate({"views": {"face": {"size": 64}}})
    network = FAMILY.build(settings, input_spec, ("real", "manipulated"), pretrained=False)
    output: Any = network({"face": torch.randn(3, 3, 64, 64)})
    assert output.frame_logits is output.logits
