from pathlib import Path
from typing import Any

import pytest

from components.train.recipe import TrainRecipe
from components.train.step import train
from core.settings import validate


@pytest.fixture(scope="session")
def _trained() -> dict[str, Path]:
    return {}


@pytest.fixture
def tiny_model(
    tiny_dataset: Path, tiny_recipe: dict[str, Any], _trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder as the training step writes it; trained once a session."""
    if "tiny" not in _trained:
        folder = tmp_path_factory.mktemp("model") / "tiny"
        train(tiny_dataset, folder, validate(TrainRecipe, tiny_recipe, "recipe"))
        _trained["tiny"] = folder
    return _trained["tiny"]
