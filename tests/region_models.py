"""Fixtures: networks that mark regions, small enough for a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.export.export import export
from components.train.recipe import TrainRecipe
from components.train.step import train
from core.settings import validate
from media.extraction import ExtractionSpec
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import Checkpoint, save_checkpoint
from models.family import FAMILIES

SPEC = PreprocessingSpec(extraction=ExtractionSpec(), input=InputSpec(views={"tiles": {"size": 64, "overlap": 16}}))
CLASSES = ("authentic", "forged")
# Of an export and of an evaluation; a ceiling that random networks keep to on six pictures.
FIT: dict[str, Any] = {"max_authentic_fpr": 0.4, "min_areas": [0.0, 0.02]}


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the checkpoint of a small network whose random weights depend on the seed; each is made once."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(member: str, stage: str = "v3", seed: int = 0, spec: PreprocessingSpec = SPEC) -> Path:
        key = (member, stage, seed, spec.digest)
        if key not in made:
            family = FAMILIES.get("forgery")
            settings = family.settings.model_validate(
                {
                    "encoder": "tu-test_efficientnet",
                    "weights": "random",
                    "pyramid_channels": 32,
                    "segmentation_channels": 32,
                }
            )
            torch.manual_seed(seed)
            network = family.build(settings, spec.input, CLASSES, pretrained=False)
            # Gives batch norm its statistics.
            network.train()({"tiles": 4 * torch.randn(4, spec.input.only.channels, 64, 64)})
            made[key] = tmp_path_factory.mktemp("model") / f"{member}_{stage}_best.pth"
            checkpoint = Checkpoint(
                epoch=1,
                model_state_dict=network.state_dict(),
                model_type=family.name,
                model_settings=settings.to_json(),
                class_names=list(CLASSES),
                spec=spec.to_json(),
                spec_sha256=spec.digest,
                member=member,
                stage=stage,
            )
            save_checkpoint(made[key], checkpoint)
        return made[key]

    return make


@pytest.fixture(scope="session")
def models(make_model: Callable[..., Path]) -> dict[str, list[Path]]:
    """Two stages of two members each, of which only ``a`` is in both."""
    return {
        "v3": [make_model("a", "v3", 1), make_model("b", "v3", 2)],
        "v4": [make_model("a", "v4", 3), make_model("c", "v4", 4)],
    }


@pytest.fixture(scope="session")
def bundles(
    tiny_dataset: Path, models: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The bundle of each of the two stages; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles")
    for stage, paths in models.items():
        export(tiny_dataset, paths, folder / stage, FIT | {"formats": ["onnx"], "version": stage})
    return {stage: folder / stage for stage in models}


@pytest.fixture(scope="session")
def trained() -> dict[str, Path]:
    return {}


@pytest.fixture
def tiny_model(
    tiny_dataset: Path, tiny_recipe: dict[str, Any], trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder as the training step writes it; trained once a session."""
    if "tiny" not in trained:
        folder = tmp_path_factory.mktemp("model") / "tiny"
        train(tiny_dataset, folder, validate(TrainRecipe, tiny_recipe, "recipe"))
        trained["tiny"] = folder
    return trained["tiny"]
