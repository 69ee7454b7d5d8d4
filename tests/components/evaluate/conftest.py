from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, save_checkpoint
from models.registry import get_family

SPEC = PreprocessingSpec(input=InputSpec(size=64, overlap=16))


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the checkpoint of a small network whose random weights depend on the seed; each is made once."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(member: str, generation: str = "v3", seed: int = 0, spec: PreprocessingSpec = SPEC) -> Path:
        key = (member, generation, seed, spec.sha256)
        if key not in made:
            family = get_family("forgery")
            settings = family.settings.model_validate(
                {
                    "encoder": "tu-test_efficientnet",
                    "weights": "random",
                    "pyramid_channels": 32,
                    "segmentation_channels": 32,
                }
            )
            torch.manual_seed(seed)
            network = family.build(settings, spec.input.channels, pretrained=False)
            network.train()(4 * torch.randn(4, spec.input.channels, 64, 64))  # gives batch norm its statistics
            made[key] = tmp_path_factory.mktemp("model") / f"{member}_{generation}_best.pth"
            checkpoint = Checkpoint(
                epoch=1,
                model_state_dict=network.state_dict(),
                model_type=family.name,
                model_settings=settings.to_json(),
                class_names=list(family.class_names),
                spec=spec.to_json(),
                spec_sha256=spec.sha256,
                member=member,
                generation=generation,
            )
            save_checkpoint(made[key], checkpoint)
        return made[key]

    return make


@pytest.fixture(scope="session")
def models(make_model: Callable[..., Path]) -> dict[str, list[Path]]:
    """Two generations of two members each, of which only ``a`` is in both."""
    return {
        "v3": [make_model("a", "v3", 1), make_model("b", "v3", 2)],
        "v4": [make_model("a", "v4", 3), make_model("c", "v4", 4)],
    }
